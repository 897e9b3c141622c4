#!/usr/bin/env bash
# Training with one process per GPU (or, without GPUs, with processes that share the cores).
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [options of tools/train.py]" >&2
    exit 2
fi
exec "$(dirname "$0")/dist_launch.sh" "$2" train.py "$1" "${@:3}"
