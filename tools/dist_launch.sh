#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: tools/dist_launch.sh GPUS SCRIPT ARGUMENTS...
# One process per GPU, or, without GPUs in the machine, processes that share its cores. On several machines set NNODES,
# NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail
GPUS=$1
SCRIPT=$2
shift 2
CORES=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((CORES / GPUS > 0 ? CORES / GPUS : 1))}
export MKL_NUM_THREADS=${MKL_NUM_THREADS:-$OMP_NUM_THREADS}
HERE=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$(dirname "$HERE")${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m mscmreid.launch \
    --nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}" --nproc-per-node="$GPUS" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}" \
    "$HERE/$SCRIPT" "$@" --launcher pytorch
