"""A report to look at, as one HTML file: python tools/report.py F.npz OUT.html --data-root data/SYSU-MM01

From a feature file (--out-features of a test run): the table, a map of the features, what stands between the
modalities, CMC curves, distances, pairs of cameras, kinds of errors, hardest queries, best and worst rankings as
pictures; --no-images puts ids in the place of images, which gated data sets ask for where a report is passed on;
--conditions adds the results of a test under bad conditions. From a results file (RESULT.json, conditions_*.json): the
table, the facts, the CMC curves, the pairs of cameras, the bad conditions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mscmreid.apis.feature_options import add_feature_options, image_root, read_features
from mscmreid.command_line import out_file, run_tool, tool_parser
from mscmreid.evaluation import evaluate, load_results
from mscmreid.evaluation.embedding import EMBEDDINGS
from mscmreid.fileio import write_text
from mscmreid.visualization.report import evaluation_report, results_report


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__, "--rerank")
    parser.add_argument("features", metavar="input", help="features (.npz, or .csv with --npy) or results (.json)")
    parser.add_argument("out", type=out_file(".html", ".htm"), help="HTML file to write")
    parser.add_argument("--data-root", help="folder of the data set; no image outside of it is read")
    parser.add_argument("--no-images", action="store_true", help="ids in the place of images")
    add_feature_options(parser)
    parser.add_argument("--feature", nargs="+", help="feat_bn, feat_pool, sum, ... (default: feat_bn, else the first)")
    parser.add_argument("--queries", type=int, default=5, help="best and worst rankings each (default: 5)")
    parser.add_argument("--hardest", type=int, default=8, help="hardest queries (default: 8)")
    parser.add_argument("--top", type=int, default=10, help="gallery images of each query (default: 10)")
    parser.add_argument("--embedding", choices=EMBEDDINGS, default="pca", help="map of the features (default: pca)")
    parser.add_argument(
        "--conditions", metavar="R.json", help="conditions_CHECKPOINT.json of tools/test.py --corruptions"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if Path(args.features).suffix == ".json":
        html = results_report(load_results(args.features))
    else:
        table, protocols = read_features(args)
        data_root = None if args.no_images else image_root(args, table)
        default = "feat_bn" if "feat_bn" in table.features else next(iter(table.features))
        evaluations = evaluate(
            table, protocols, args.feature or [default], flip=args.flip, rerank=args.rerank, with_intervals=True
        )
        corrupted = load_results(args.conditions) if args.conditions else []
        html = evaluation_report(
            evaluations, table, data_root, args.queries, args.hardest, args.top, args.embedding, corrupted
        )
    write_text(html, args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, needs no other file")


if __name__ == "__main__":
    run_tool(main)
