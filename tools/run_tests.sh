#!/usr/bin/env bash
# Make an environment, install, check the code and run the tests: `bash tools/run_tests.sh [pytest options]`.
# Everything not marked slow runs; `-m slow` runs the rest. MSCMREID_SPLITS names the real split lists, where there are.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(bash tools/make_env.sh "${MSCMREID_ENV:-}")
bin=$(dirname "$python")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"
"$bin/codespell" mscmreid tools tests configs docs README.md CHANGELOG.md
"$python" -m pytest -n "${MSCMREID_TEST_WORKERS:-2}" --dist loadfile -m "not slow" "$@"
