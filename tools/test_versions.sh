#!/usr/bin/env bash
# Run tests with the oldest versions of the dependencies that setup.py allows, and with the newest there are.
#   bash tools/test_versions.sh [pytest options]   default options: -m "not slow"
#   MSCMREID_VERSIONS="oldest newest"              which of the two
#   PYTHON=python3.12                              the interpreter
#   MSCMREID_VERSIONS_DIR=DIR                      folder of the environments (default: .venv-versions)
# README says what it was run with.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
folder=${MSCMREID_VERSIONS_DIR:-.venv-versions}/$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}

# The requirements of setup.py, each at its lower bound for "oldest": NAME>=1.2,<2 becomes NAME==1.2.
requirements() {
  "$python" - "$1" <<'PY'
import re
import sys

for line in sorted(set(re.findall(r'"([a-z-]+>=[^"]+)"', open("setup.py").read()))):
    name, low = re.match(r"([a-z-]+)>=([\d.]+)", line).groups()
    if not name.startswith(("ruff", "mypy", "codespell")):  # they check the code, in one version
        print(f"{name}=={low}.*" if sys.argv[1] == "oldest" else line)
PY
}

failed=
for which in ${MSCMREID_VERSIONS:-oldest newest}; do
  env="$folder-$which"
  mapfile -t wanted < <(requirements "$which")
  [ -x "$env/bin/python" ] || "$python" -m venv "$env"
  "$env/bin/python" -m pip install --disable-pip-version-check -q --upgrade "${wanted[@]}" tensorboard
  "$env/bin/python" -m pip install --disable-pip-version-check -q --no-deps -e .
  echo "== $which: $("$env/bin/python" -V), $("$env/bin/python" -m pip list --disable-pip-version-check 2>/dev/null |
    grep -E '^(torch|torchvision|numpy|pillow|mmengine|mmcv-lite|matplotlib|scipy) ' | tr -s ' ' | paste -sd, -)"
  if [ $# -gt 0 ]; then options=("$@"); else options=(-m "not slow"); fi
  "$env/bin/python" -m pytest -q -p no:cacheprovider "${options[@]}" || failed="$failed $which"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
