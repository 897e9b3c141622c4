"""Build the image caches of a config's data sets ahead: python tools/prepare_data.py configs/mscm_sysu.py

Training and testing build what is missing themselves; this does it where no GPU waits meanwhile.
"""

from __future__ import annotations

import argparse

import mscmreid.registry  # noqa: F401  (an error in there must be seen, not swallowed)


def parse_args() -> argparse.Namespace:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="change options of the config, such as data_root=FOLDER",
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmengine.registry import init_default_scope

    from mscmreid.apis import load_config
    from mscmreid.apis.config import LOADERS
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
    main()
