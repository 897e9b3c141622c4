#!/usr/bin/env bash
# From nothing to a ranked result: make an environment, install, draw synthetic people, train MSCMNet on them, test it
# and draw a picture of rankings. `bash tools/quickstart.sh [OUT] [SEED]`; OUT is work_dirs/quickstart unless given.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-work_dirs/quickstart}
seed=${2:-0}
python=$(bash tools/make_env.sh "${MSCMREID_ENV:-}")
data=${MSCMREID_DATA:-data}
export MSCMREID_DATA="$data"
[ -d "$data/synthetic" ] || "$python" tools/make_synthetic.py "$data/synthetic" --layout sysu --contact-sheet "$data/synthetic.png"
"$python" tools/train.py configs/mscm_synthetic.py --work-dir "$out" --cfg-options randomness.seed="$seed"
"$python" tools/test.py configs/mscm_synthetic.py "$out/last.pth" --work-dir "$out/test" --out-features "$out/features.npz"
"$python" tools/draw_rankings.py "$out/features.npz" "$out/rankings.png" --data-root "$data/synthetic" --baselines
echo "done: metrics in $out/test, picture in $out/rankings.png"
