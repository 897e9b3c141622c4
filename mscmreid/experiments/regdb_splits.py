"""All ten splits of RegDB: a training and a test each, and their mean."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mscmreid.apis.config import LOADERS, config_hash, load_config, set_work_dir
from mscmreid.apis.test import set_test_options, test
from mscmreid.apis.train import train
from mscmreid.engine.runner.checkpoint import read_checkpoint, trained_checkpoint
from mscmreid.evaluation import Result, load_results, over_splits, save_results, split_table, terminal_table
from mscmreid.fileio import sha256_of, written_atomically

SPLITS = tuple(range(1, 11))
SUMMARY = "regdb_splits"
RESULTS = "results.json"


def regdb_splits(
    cfg: Config,
    splits: Sequence[int] = SPLITS,
    checkpoints: str | None = None,
    which: str = "best",
    work_dir: str | None = None,
    rerank: bool = False,
    flip: bool = False,
    launcher: str = "none",
) -> list[Result]:
    """Train and test the splits, one after another, and average over them.

    Split N has the folder ``split_N`` below the work folder. A split whose ``results.json`` is there is not done again;
    one that was cut off goes on from its last checkpoint. At the end ``regdb_splits.json`` holds the results over the
    splits, and ``regdb_splits.txt`` the same as a table with every split.

    Args:
        cfg: of :func:`mscmreid.apis.load_config`, on RegDB in training and test.
        splits: numbers out of 1 to 10.
        checkpoints: a path with ``{split}`` in it: test these instead of training.
        which: after training, test the 'best' or the 'last' epoch.
        work_dir: see :func:`mscmreid.apis.config.set_work_dir`.
        rerank, flip, launcher: as in :func:`mscmreid.apis.test`.

    Returns:
        One result over the splits for each row of the table (see :func:`mscmreid.evaluation.over_splits`).

    Raises:
        ValueError: the config is not one of RegDB, an unknown or repeated split, a checkpoint of another split, or
            results in the work folder that were made with another config or checkpoint.
        FileNotFoundError: a checkpoint is missing; told before anything is run.
    """
    _check(cfg, splits, checkpoints, which)
    set_work_dir(cfg, work_dir)
    folders = {split: Path(cfg.work_dir, f"split_{split}") for split in splits}
    given = {split: Path(checkpoints.replace("{split}", str(split))) for split in splits} if checkpoints else {}
    for split, path in given.items():
        if not path.is_file():
            raise FileNotFoundError(f"split {split}: expected a checkpoint at {path.absolute()}, found none")
    # all processes look before any of them writes, so that they agree
    finished = [
        split
        for split in splits
        if _is_finished(folders[split] / RESULTS, _config_of(cfg, split), given.get(split), rerank, flip)
    ]
    for split in splits:
        if split in finished:
            print_log(f"split {split}: has results in {folders[split]}, not done again", "current")
            continue
        print_log(f"split {split}: work folder {folders[split]}", "current")
        if not given:
            train(_named(_config_of(cfg, split), f"split_{split}"), str(folders[split]), "auto", launcher=launcher)
            gc.collect()  # a runner is full of circles, and its data workers live as long as it does
        test(
            _named(_config_of(cfg, split), f"test_{split}"),
            given.get(split) or trained_checkpoint(folders[split], which),
            work_dir=str(folders[split]),
            out_json=str(folders[split] / RESULTS),
            rerank=rerank,
            flip=flip,
            launcher=launcher,
        )
        gc.collect()
    results = over_splits(
        [load_results(folder / RESULTS) for folder in folders.values()],
        checkpoint=checkpoints or str(Path(cfg.work_dir, "split_{split}")) + f": {which} epoch",
        config_hash=_tested_hash(_config_of(cfg, SPLITS[0]), rerank, flip),
    )
    if is_main_process():
        _report(results, splits, Path(cfg.work_dir), _without_split(folders))
    return results


def _check(cfg: Config, splits: Sequence[int], checkpoints: str | None, which: str) -> None:
    if not splits or len(set(splits)) < len(splits) or not set(splits) <= set(SPLITS):
        raise ValueError(f"splits must be different numbers from 1 to 10, found {list(splits)}")
    if which not in ("best", "last"):
        raise ValueError(f"which must be 'best' or 'last', found {which!r}")
    if checkpoints is not None and "{split}" not in checkpoints:
        raise ValueError(f"checkpoints must name a file for each split, with {{split}} in it, found {checkpoints!r}")
    for name in ("test_dataloader",) if checkpoints else LOADERS:
        dataset = cfg[name].dataset if cfg.get(name) else None
        if dataset is not None and "split_id" not in dataset:
            raise ValueError(
                f"{name}.dataset must be RegDB with a split_id, found {dict(dataset)}: use a config of RegDB"
            )


def _config_of(cfg: Config, split: int) -> Config:
    """The config of one split (a copy)."""
    return load_config(cfg, dict(split_id=split))


def _named(cfg: Config, name: str) -> Config:
    """A name of its own for the run: runs of one name and second would share their log."""
    cfg.experiment_name = f"{cfg.get('experiment_name') or Path(cfg.filename or 'regdb').stem}_{name}"
    return cfg


def _tested_hash(cfg: Config, rerank: bool, flip: bool) -> str:
    """The hash that results of this config's test have."""
    set_test_options(cfg, rerank, flip)
    return config_hash(cfg)


def _is_finished(path: Path, cfg: Config, checkpoint: Path | None, rerank: bool, flip: bool) -> bool:
    """Whether ``path`` holds the results of this split, config and checkpoint."""
    if not path.is_file():
        return False
    results = load_results(path)
    expected = _tested_hash(cfg, rerank, flip)
    if any(result.config_hash != expected for result in results):
        raise ValueError(
            f"{path} was made with another config or other options of the test: delete it to do the split again, or "
            "name another --work-dir"
        )
    if checkpoint is not None and any(result.checkpoint_sha256 != sha256_of(checkpoint) for result in results):
        raise ValueError(
            f"{path} was made with another checkpoint than {checkpoint}: delete it to test the split again"
        )
    return True


def _without_split(folders: dict[int, Path]) -> list[int]:
    """Splits whose checkpoint does not say what it was trained on, so that nothing could be compared."""
    unknown = []
    for split, folder in folders.items():
        path = Path(str(load_results(folder / RESULTS)[0].checkpoint))
        meta = read_checkpoint(path).get("meta", {}) if path.is_file() else {}
        if not (meta.get("dataset_meta") or {}).get("split"):
            unknown.append(split)
    return unknown


def _report(results: list[Result], splits: Sequence[int], folder: Path, unknown: Sequence[int]) -> None:
    """Print the table and write both files."""
    parts = [terminal_table(results), *(split_table(result) for result in results)]
    if len(splits) < len(SPLITS):
        parts.append(f"Only {len(splits)} of the {len(SPLITS)} splits: not comparable with published numbers.")
    if unknown:
        parts.append(f"The checkpoints of the splits {list(unknown)} do not say which split they were trained on.")
    text = "\n\n".join(parts) + "\n"
    save_results(results, folder / f"{SUMMARY}.json")
    with written_atomically(folder / f"{SUMMARY}.txt") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"\n{text}\nresults: {folder / SUMMARY}.json and .txt")
