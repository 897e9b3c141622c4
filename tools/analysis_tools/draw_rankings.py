"""A picture of rankings from a feature file.

python tools/analysis_tools/draw_rankings.py F.npz OUT.png --data-root data/SYSU-MM01

Each query with its nearest gallery images under the protocol's rule, right and wrong ones framed. --baselines also
prints what chance, raw pixels and (with --config) the untrained network reach under the same protocol and draws.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mscmreid.apis.feature_options import add_feature_options, image_root, read_features
from mscmreid.command_line import out_file, run_tool, tool_parser
from mscmreid.evaluation import FeatureTable, Protocol, Result, evaluate
from mscmreid.visualization.nearest import CHOICES
from mscmreid.visualization.pictures import evaluation_rankings, ranking_title
from mscmreid.visualization.rankings import PICTURES, draw_rankings, save_picture


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("features", help=".npz of a test run or of other code, or a .csv that goes with --npy")
    parser.add_argument("out", type=out_file(*PICTURES), help="picture to write: .png, .jpg, .webp or .pdf")
    parser.add_argument("--data-root", help="folder of the data set; no image outside of it is read")
    add_feature_options(parser)
    parser.add_argument("--feature", help="feat_bn, feat_pool, sum, blend=A, ... (default: feat_bn, else the first)")
    parser.add_argument("--queries", type=int, default=5, help="how many, each of another person (default: 5)")
    parser.add_argument("--top", type=int, default=10, help="gallery images of each (default: 10)")
    parser.add_argument(
        "--select",
        choices=CHOICES,
        default="spread",
        help="spread: from the best person to the worst; hardest: first match furthest down (default: spread)",
    )
    parser.add_argument("--baselines", action="store_true", help="print Rank-1 of chance and of raw pixels, too")
    parser.add_argument("--config", help="with --baselines: also the network of this config without training")
    args = parser.parse_args(argv)
    if args.config and not args.baselines:
        parser.error("--config goes with --baselines")
    return args


def baselines(
    table: FeatureTable, protocol: Protocol, result: Result, data_root: Path, config: str | None, feature: str
) -> str:
    """Chance, pixels, untrained network and the result, one below the other."""
    from mscmreid.experiments.baselines import (
        Comparison,
        chance_comparison,
        comparison_table,
        pixel_comparisons,
        untrained_comparison,
    )

    rows = [chance_comparison(table, protocol, data_root), *pixel_comparisons(table, protocol, data_root)]
    if config is not None:
        rows.append(untrained_comparison(config, table, protocol, data_root, feature))
    rows.append(Comparison(f"these features, {result.feature_label}", result.values["R1"]))
    title = (
        f"Rank-1 in percent: {result.dataset}, {result.setting}, {result.num_trials} gallery draw(s), "
        f"{max(result.num_queries)} queries"
    )
    return comparison_table(title, rows)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    table, protocols = read_features(args)
    data_root = image_root(args, table)
    feature = args.feature or ("feat_bn" if "feat_bn" in table.features else next(iter(table.features)))
    evaluation = evaluate(table, protocols[:1], [feature], flip=args.flip)[0]
    rankings = evaluation_rankings(evaluation, table, data_root, args.select, args.queries, args.top)
    title, subtitle = ranking_title(evaluation.result)
    save_picture(draw_rankings(rankings, title, subtitle), args.out)
    print(f"{title}\n{args.out}: {len(rankings)} queries, {args.top} nearest each")
    if args.baselines:
        print(baselines(table, protocols[0], evaluation.result, data_root, args.config, feature))


if __name__ == "__main__":
    run_tool(main)
