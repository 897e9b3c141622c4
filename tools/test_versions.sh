#!/usr/bin/env bash
# Run tests with the oldest versions of the dependencies that setup.py allows, and with the newest there are.
#   bash tools/test_versions.sh [pytest options]   default options: -m "not slow"; a part: tests/models tests/evaluation
#   MSCMREID_VERSIONS="oldest newest"              which of the two
#   PYTHON=python3.12                              the interpreter
#   MSCMREID_EXTRAS="mm stats test"                extras of setup.py beside the requirements; default: mm tensorboard report stats test
#   MSCMREID_VERSIONS_DIR=DIR                      folder of the environments (default: .venv-versions)
# README says what it was run with.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
folder=${MSCMREID_VERSIONS_DIR:-.venv-versions}/$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}

# The requirements of setup.py, each at its lower bound for "oldest": NAME>=1.2,<2 becomes NAME==1.2.*
requirements() {
  "$1" - "$2" ${MSCMREID_EXTRAS:-mm tensorboard report stats test} <<'PY'
import re
import runpy
import sys

import setuptools

told = {}
setuptools.setup = lambda **options: told.update(options)
runpy.run_path("setup.py")
wanted = {*told["install_requires"], *(line for name in sys.argv[2:] for line in told["extras_require"][name])}
for line in sorted(wanted):
    name, low = re.match(r"([A-Za-z-]+)(?:>=([\d.]+))?", line).groups()
    if name not in ("ruff", "mypy", "codespell"):  # they check the code, in one version
        print(f"{name}=={low}.*" if sys.argv[1] == "oldest" and low else line)
PY
}

failed=
for which in ${MSCMREID_VERSIONS:-oldest newest}; do
  env="$folder-$which"
  [ -x "$env/bin/python" ] || "$python" -m venv "$env"
  pip=("$env/bin/python" -m pip --disable-pip-version-check)
  "${pip[@]}" install -q --upgrade setuptools
  mapfile -t wanted < <(requirements "$env/bin/python" "$which")
  [ ${#wanted[@]} -gt 0 ] || { echo "setup.py could not be read" >&2; exit 1; }
  "${pip[@]}" install -q --upgrade "${wanted[@]}"
  "${pip[@]}" install -q --no-deps --no-build-isolation -e .
  echo "== $which: $("$env/bin/python" -V), $("${pip[@]}" list 2>/dev/null |
    grep -E '^(torch|torchvision|numpy|pillow|mmengine|mmcv-lite|matplotlib|scipy) ' | tr -s ' ' | paste -sd, -)"
  if [ $# -gt 0 ]; then options=("$@"); else options=(-m "not slow"); fi
  "$env/bin/python" -m pytest -q -p no:cacheprovider "${options[@]}" || failed="$failed $which"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
