#!/usr/bin/env bash
# Testing under Slurm, one task per GPU: GPUS=8 tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] $0 PARTITION JOB_NAME CONFIG CHECKPOINT [options]" >&2
    exit 2
fi
exec "$(dirname "$0")/slurm_launch.sh" "$1" "$2" test.py "${@:3}"
