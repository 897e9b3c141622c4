#!/usr/bin/env bash
# From nothing to a ranked result: make an environment, install, draw synthetic people, train MSCMNet on them, test it
# and draw a picture of rankings.
#   bash tools/quickstart.sh [OUT] [SEED]     OUT: work_dirs/quickstart unless given; SEED of the training: 0
#   MSCMREID_ENV=DIR                          environment to make or reuse (default: .venv)
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-work_dirs/quickstart}
seed=${2:-0}
python=$(bash tools/make_env.sh "${MSCMREID_ENV:-}")
start=$SECONDS
config=configs/mscm_synthetic.py
if [ ! -d data/synthetic ]; then
  "$python" tools/make_synthetic.py data/synthetic --layout sysu --contact-sheet "$out/people.png"
fi
resume=()
if [ -e "$out/last_checkpoint" ]; then resume=(--resume); fi  # run again, it goes on where it was
"$python" tools/train.py "$config" --work-dir "$out" ${resume[@]+"${resume[@]}"} --cfg-options randomness.seed="$seed"
"$python" tools/test.py "$config" "$(cat "$out/last_checkpoint")" --work-dir "$out/test" --out-features "$out/features.npz"
"$python" tools/analysis_tools/draw_rankings.py "$out/features.npz" "$out/rankings.png" --data-root data/synthetic --dataset sysu --baselines --config "$config"
echo "done in $((SECONDS - start)) s: numbers in $out/test, pictures $out/rankings.png and, of the people, $out/people.png"
