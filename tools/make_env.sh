#!/usr/bin/env bash
# Make (or reuse) a virtual environment with mscmreid and everything its tools need, and print its Python.
#   bash tools/make_env.sh [DIR]        DIR: .venv in the checkout unless given
#   PYTHON=python3.12                   the interpreter to build it with (3.10 to 3.13)
#   MSCMREID_TORCH="torch torchvision"  what pip installs first; the default is what this version was tested with
#   MSCMREID_EXTRAS=mm,all              extras of setup.py
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
env=${1:-}
[ -n "$env" ] || env="$root/.venv"
torch=${MSCMREID_TORCH:-torch==2.14.1 torchvision==0.29.1}
stamp="$env/.mscmreid-$(cat "$root/setup.py" <(echo "$torch ${MSCMREID_EXTRAS:-mm,all}") | cksum | cut -d' ' -f1)"
if [ ! -e "$stamp" ]; then
  "${PYTHON:-python3}" -m venv "$env" >&2
  # shellcheck disable=SC2086  # several requirements in one variable
  "$env/bin/python" -m pip install --disable-pip-version-check -q $torch >&2
  "$env/bin/python" -m pip install --disable-pip-version-check -q -e "$root[${MSCMREID_EXTRAS:-mm,all}]" >&2
  touch "$stamp"
fi
echo "$env/bin/python"
