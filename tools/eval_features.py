"""Score a feature file without a network: python tools/eval_features.py F.npz --dataset sysu

The table and the JSON are those of a test run. Other people's features: an .npz with the arrays path, pid, cam_id,
modality and one or more features (N, D), or a .csv with those columns and --npy FEATURES.npy. See docs/evaluation.md.
"""

from __future__ import annotations

import argparse

from mscmreid.apis.feature_options import add_feature_options, read_features
from mscmreid.command_line import out_file, run_tool, tool_parser
from mscmreid.evaluation import evaluate, latex_rows, markdown_table, save_results, terminal_table

FORMATS = {"terminal": terminal_table, "markdown": markdown_table, "latex": latex_rows}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__, "--rerank")
    parser.add_argument("features", help=".npz of a test run or of other code, or a .csv that goes with --npy")
    parser.add_argument("--data-root", help="folder of the data set; only the 'official' SYSU-MM01 draws need it")
    add_feature_options(parser)
    parser.add_argument("--feature", nargs="+", help="feat_bn, feat_pool, sum, blend=A, ... (default: all in the file)")
    parser.add_argument("--memory", type=int, default=1024, help="MiB for ranking beyond the features (default 1024)")
    parser.add_argument("--format", choices=list(FORMATS), default="terminal")
    parser.add_argument("--out-json", type=out_file(".json"), help="results, with per-query values beside them")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    table, protocols = read_features(args)
    features = args.feature or [name for name in table.features if not name.endswith("_flip")]
    evaluations = evaluate(
        table,
        protocols,
        features,
        flip=args.flip,
        rerank=args.rerank,
        memory_bytes=args.memory << 20,
        with_cameras=bool(args.out_json),
        with_intervals=True,
    )
    results = [evaluation.result for evaluation in evaluations]
    print(FORMATS[args.format](results))
    if args.out_json:
        save_results(results, args.out_json, [evaluation.per_query(table) for evaluation in evaluations])


if __name__ == "__main__":
    run_tool(main)
