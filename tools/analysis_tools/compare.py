"""Is the difference real: systems against each other on the same queries.

python tools/analysis_tools/compare.py A.npz B.npz --dataset sysu --out AB.png --data-root data/SYSU-MM01
python tools/analysis_tools/compare.py --system mscm=runs/mscm_*.npz --system agw=runs/agw_*.npz --dataset sysu
python tools/analysis_tools/compare.py work_dirs/ablate/mscm_synthetic work_dirs/ablate/agw_synthetic

A system is a feature file (--out-features of a test), a results file (with its per-query values beside it), a folder
that has one, or a folder of seed_N; several files of one name are its trainings. For every pair: the difference, its
95 % interval, p, and whether the two can be told apart. docs/evaluation.md says what these words mean.
"""

from __future__ import annotations

import argparse
import json

from mscmreid.apis.feature_options import add_feature_options, image_root, read_features
from mscmreid.command_line import out_file, run_tool, tool_parser
from mscmreid.evaluation.compare import (
    SHOWN,
    Comparison,
    common_settings,
    compare_systems,
    comparison_table,
    spread_table,
    spreads,
)
from mscmreid.evaluation.results import MEASURES
from mscmreid.experiments.systems import Source, read_system, split_name, system_name
from mscmreid.fileio import write_text
from mscmreid.visualization.comparison import draw_changes, draw_comparison, stacked
from mscmreid.visualization.rankings import PICTURES, save_picture


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("inputs", nargs="*", metavar="[NAME=]FILE", help="a system each; named by its file otherwise")
    parser.add_argument(
        "--system", action="append", default=[], metavar="NAME=PATTERN", help="a system of several trainings"
    )
    parser.add_argument("--against", metavar="NAME", help="compare all others with this one (default: every pair)")
    parser.add_argument("--feature", help="feat_bn, sum, ... (default: feat_bn; of results, that of their first row)")
    parser.add_argument("--measures", nargs="+", default=list(SHOWN), choices=MEASURES)
    parser.add_argument("--data-root", help="folder of the data set, for rankings in the picture")
    parser.add_argument("--out", type=out_file(*PICTURES), metavar="PICTURE", help="the first pair as a picture")
    parser.add_argument("--out-json", type=out_file(".json"), metavar="R.json", help="everything as JSON")
    parser.add_argument("--queries", type=int, default=10, help="of the picture, those that change most (default: 10)")
    parser.add_argument("--top", type=int, default=5, help="gallery images of each (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of resampling (default: 0)")
    add_feature_options(parser)
    return parser.parse_args(argv)


def read_sources(args: argparse.Namespace) -> list[Source]:
    """Every system that is named; entries of one name are trainings of one."""
    patterns: dict[str, list[str]] = {}
    for entry in [*args.inputs, *args.system]:
        name, pattern = split_name(entry)
        if name is None and entry in args.system:
            raise ValueError(f"--system takes NAME=PATTERN, found {entry!r}")
        if name is None and (same := system_name(pattern)) in patterns:
            raise ValueError(
                f"two systems would be called {same!r}, {patterns[same][0]} and {pattern}: "
                "name them as NAME=FILE (files of one NAME are trainings of one system)"
            )
        patterns.setdefault(name or system_name(pattern), []).append(pattern)
    if len(patterns) < 2:
        raise ValueError(f"a comparison needs two systems or more, found {', '.join(patterns) or 'none'}")

    def read(path: str):
        return read_features(argparse.Namespace(**{**vars(args), "features": path}))

    return [read_system(name, found, read, args.feature, args.flip) for name, found in patterns.items()]


def notes(sources: list[Source], comparisons: list[Comparison]) -> list[str]:
    """What one must know to read the table."""
    systems = [source.system for source in sources]
    shared = common_settings(systems)
    lines = [f"{s.name} also has {left}" for s in systems for left in s.settings if left not in shared]
    lines = [f"left out: {', '.join(lines)}; not all systems have that"] if lines else []
    if all(len(system.runs) == 1 for system in systems):
        lines.append(
            "One training each: this tells these trained networks apart, not their methods. Another seed moves a "
            "number, too; several trainings each (--system NAME='runs/a_*.npz') say how far."
        )
    return lines


def draw(args: argparse.Namespace, sources: list[Source], comparisons: list[Comparison]) -> None:
    """The first pair under the first protocol; rankings where both are feature files with images."""
    setting, names = comparisons[0].setting, (comparisons[0].first, comparisons[0].second)
    pair = [next(source for source in sources if source.system.name == name) for name in names]
    tested = [source.system.of_setting(setting)[0] for source in pair]
    if any(len(test.queries) > 1 for test in tested):
        raise ValueError("a result over splits has no picture of its queries")
    queries = (tested[0].queries[0], tested[1].queries[0])
    shown = [comparison for comparison in comparisons if comparison.setting == setting]
    several = max(len(source.system.runs) for source in pair) > 1
    title = f"{tested[0].result.dataset} {tested[0].result.split}, {setting}" + (", first training" if several else "")
    pictures = [draw_comparison(names, queries, shown, title)]
    tables = [source.table for source in pair]
    if tables[0] is not None and tables[1] is not None:
        data_root = image_root(args, tables[0])
        chosen = [next(e for e in s.evaluations if e.result.setting == setting) for s in pair]
        both = (tables[0], tables[1])
        changes = draw_changes(names, (chosen[0], chosen[1]), both, data_root, args.queries, args.top)
        pictures += [] if changes is None else [changes]
    else:
        print("no rankings in the picture: they need feature files")
    save_picture(stacked(pictures), args.out)
    print(f"picture: {args.out}")


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    sources = read_sources(args)
    systems = [source.system for source in sources]
    names = [system.name for system in systems]
    if args.against is not None and args.against not in names:
        raise ValueError(f"--against must name one of {', '.join(names)}, found {args.against!r}")
    pairs = None if args.against is None else [(name, args.against) for name in names if name != args.against]
    comparisons = compare_systems(systems, pairs, args.measures, args.seed)
    parts = [comparison_table(comparisons)]
    found = spreads(systems)
    if found:
        parts.append(spread_table(found, args.measures))
    print("\n\n".join([*parts, *notes(sources, comparisons)]))
    if args.out_json:
        content = dict(
            schema_version=1,
            seed=args.seed,
            comparisons=[comparison.to_json() for comparison in comparisons],
            spreads=[
                dict(setting=setting, system=name, trainings=num, measure=measure, **vars(spread[measure]))
                for setting, name, num, spread in found
                for measure in args.measures
            ],
        )
        write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", args.out_json)
    if args.out:
        draw(args, sources, comparisons)


if __name__ == "__main__":
    run_tool(main)
