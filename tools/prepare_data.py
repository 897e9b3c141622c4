"""Build the image caches of a config's data sets ahead: python tools/prepare_data.py configs/mscm_sysu.py

Training and testing build what is missing themselves; this does it where no GPU waits meanwhile.
"""

from __future__ import annotations

import argparse

from mscmreid.command_line import run_tool, tool_parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__, "--cfg-options")
    parser.add_argument("config", help="config file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mmengine.registry import init_default_scope

    from mscmreid.apis import load_config
    from mscmreid.engine.runner.run_config import LOADERS
    from mscmreid.registry import DATASETS

    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.default_scope)
    prepared: list[dict] = []
    for name in LOADERS:
        options = (cfg.get(name) or {}).get("dataset")
        if options is None or options in prepared:
            continue
        prepared.append(options)
        cache = getattr(DATASETS.build(options), "cache", None)
        print(f"{name}: {'no cache (cache=False)' if cache is None else cache.path}")
    if not prepared:
        raise ValueError(f"{args.config!r} has no data set: expected one of {', '.join(LOADERS)}")


if __name__ == "__main__":
    run_tool(main)
