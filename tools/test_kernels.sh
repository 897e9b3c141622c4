#!/usr/bin/env bash
# Run tests under the kernels of other processors, as far as the libraries here can be told to use them, one after another:
# a line for each with its outcome and the largest deviation from a golden number.
#   bash tools/test_kernels.sh [pytest options]   default: tests/parity
#   PYTHON=.venv/bin/python                       the interpreter (default: python3)
#   MSCMREID_KERNELS="ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=Zen,OMP_NUM_THREADS=2"   other settings than these
set -uo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- tests/parity
kernels="as-it-is OMP_NUM_THREADS=2,MKL_NUM_THREADS=2
  ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2
  ONEDNN_MAX_CPU_ISA=SSE41 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
  ATEN_CPU_CAPABILITY=avx2,ONEDNN_MAX_CPU_ISA=AVX2,MKL_ENABLE_INSTRUCTIONS=AVX2,OMP_NUM_THREADS=2,MKL_NUM_THREADS=2
  OPENBLAS_CORETYPE=Haswell OPENBLAS_CORETYPE=SkylakeX OPENBLAS_CORETYPE=Zen"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
for kernel in ${MSCMREID_KERNELS:-$kernels}; do
  settings=()
  [ "$kernel" = as-it-is ] || IFS=, read -ra settings <<<"$kernel"
  env OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 "${settings[@]}" "${PYTHON:-python3}" -m pytest -q -p no:cacheprovider "$@" >"$log" 2>&1
  [ $? -ne 132 ] || { echo "$kernel: not run: this processor lacks its instructions"; continue; }
  outcome=$(tail -n 1 "$log")
  grep -q '^FAILED\|^ERROR\|^E  ' "$log" && { failed=1; cat "$log" >&2; }
  largest=$(sed -n '/largest deviation from the golden/,$p' "$log" | grep -E '[0-9]e[-+][0-9]+$' |
    awk '{ if ($NF + 0 > most + 0) { most = $NF; $NF = ""; name = $0 } } END { if (name) print "; largest: " name most }')
  echo "$kernel: $outcome$largest"
done
exit $failed
