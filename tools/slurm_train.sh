#!/usr/bin/env bash
# Training under Slurm, one task per GPU: GPUS=8 tools/slurm_train.sh PARTITION JOB_NAME CONFIG
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] $0 PARTITION JOB_NAME CONFIG [options]" >&2
    exit 2
fi
exec "$(dirname "$0")/slurm_launch.sh" "$1" "$2" train.py "${@:3}"
