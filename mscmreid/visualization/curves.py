"""Losses, accuracy, learning rate and Rank-1/mAP of runs over the epochs, beside a run that the authors released."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from mscmreid.fileio import written_atomically
from mscmreid.gate import damage_named, read_text

RELEASED = ("mscm_sysu", "dns_sysu", "dns_llcm")
IN_A_ROW = 3
"""A run has left the released one where it is too far from it in so many epochs in a row."""

Series = dict[int, float]
"""Epochs that are done -> value."""


@dataclass
class Curves:
    """One run.

    Attributes:
        name: for the legend.
        series: 'R1', 'mAP' (percent, after the epoch), 'loss' and 'loss_*' (mean over the epoch, weights included),
            'acc' (percent, likewise), 'lr' (of neck and classifier, at the epoch's end).
    """

    name: str
    series: dict[str, Series] = field(default_factory=dict)


def read_run(work_dir: str | Path) -> Curves:
    """What a run logged, resumed or not; of an iteration that was done twice, the later value.

    Raises:
        FileNotFoundError: there is no log of scalars under the folder.
        ValueError: it holds no value of a whole interval of training or of a validation.
    """
    work_dir = Path(work_dir)
    paths = sorted(work_dir.glob("*/vis_data/scalars.json"), key=lambda path: path.parent.parent.name)
    if not paths:
        raise FileNotFoundError(
            f"curves: expected the logs of a run, {work_dir}/*/vis_data/scalars.json, found none; is it a work folder?"
        )
    logged: dict[tuple[bool, int], dict[str, Any]] = {}
    for path in paths:
        lines = read_text(path, "a run's log of scalars").splitlines()
        with damage_named(path, "a run's log of scalars"):
            for number, line in enumerate(lines, start=1):
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    if number == len(lines):  # the run was killed
                        break
                    raise
                logged["val/reid/R1" in entry, int(entry["step"])] = entry
    series: dict[str, Series] = defaultdict(dict)
    of_epoch: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (validates, step), entry in sorted(logged.items()):
        if validates:
            for name in ("R1", "mAP"):
                series[name][step] = entry[f"val/reid/{name}"]
            continue
        for key, value in entry.items():
            name = key.removeprefix("train/")
            if key == "train/base_lr":
                series["lr"][entry["epoch"]] = value
            elif name == "acc" or name.startswith("loss"):
                of_epoch[name, entry["epoch"]].append(value)
    for (name, epoch), values in of_epoch.items():
        series[name][epoch] = sum(values) / len(values)
    if not series:
        raise ValueError(f"curves: {paths[-1]} holds no losses and no validation yet")
    return Curves(work_dir.name or str(work_dir), dict(series))


def released_run(name: str) -> Curves:
    """A run of the published system's own code, from the log that its authors released.

    Args:
        name: one of :data:`RELEASED`.

    Raises:
        ValueError: no such run.
    """
    if name == "mscm_sysu":
        return _released_mscm()
    if name not in RELEASED:
        raise ValueError(f"released runs are {RELEASED}, found {name!r}")
    log = _data("dns_released_logs.json")[name.removeprefix("dns_") + "_100"]
    series: dict[str, Series] = defaultdict(dict)
    for epoch, rank1, *_, precision, _ in log["feat_bn"]:
        series["R1"][epoch + 1], series["mAP"][epoch + 1] = rank1, precision
    for epoch, _, total, ce, circle, da, dd, accuracy, lr in log["train"]:
        values = dict(loss=total, loss_ce=ce, loss_circle=circle, loss_da=0.2 * da, loss_dd=dd, acc=accuracy, lr=lr)
        for key, value in values.items():
            series[key][epoch + 1] = value
    return Curves(f"released ({name})", dict(series))


def _released_mscm() -> Curves:
    series: dict[str, Series] = defaultdict(dict)
    for epoch in _data("mscm_released_log.json")["epochs"]:
        done = epoch["epoch"] + 1
        if "feat_bn" not in epoch:  # the log ends in this epoch
            continue
        ce, qct = epoch["ce"][-1], epoch["qct"][-1]
        values = dict(loss=ce + qct, loss_ce=ce, loss_qct=qct, acc=epoch["acc"][-1], lr=10 * epoch["lr_trunk"])
        values |= dict(R1=epoch["feat_bn"][0], mAP=epoch["feat_bn"][4])
        for key, value in values.items():
            series[key][done] = value
    return Curves("released (mscm_sysu)", dict(series))


def _data(name: str) -> dict:
    return json.loads(files("mscmreid.visualization").joinpath("data", name).read_text(encoding="utf-8"))


TITLES = dict(R1="Rank-1", mAP="mAP", acc="accuracy", lr="learning rate", loss="loss")


def title_of(name: str) -> str:
    """A quantity's name in sentences and over panels."""
    return TITLES.get(name) or name.replace("_", " ")


def is_far(name: str, value: float, released: float, largest: float) -> bool:
    """Whether a value is farther from the released one than chance makes it.

    5 points of Rank-1, mAP or accuracy; a quarter of a loss, and 0.05; 2 % of the largest learning rate of the released
    run, whose log does not reach an epoch's last batch.
    """
    difference = abs(value - released)
    if name in ("R1", "mAP", "acc"):
        return difference > 5
    if name == "lr":
        return difference > 0.02 * largest
    return difference > max(0.25 * abs(released), 0.05)


def compare(run: Curves, released: Curves) -> list[str]:
    """Where a run leaves the released one: a sentence a quantity, the measures first.

    A run has left it at the first of :data:`IN_A_ROW` compared epochs in a row (or of all, where there are fewer) in
    which it is far from it, see :func:`is_far`.
    """
    sentences = []
    for name in _in_order([released]):
        theirs, ours = released.series[name], run.series.get(name, {})
        epochs = sorted(theirs.keys() & ours.keys())
        if not epochs:
            sentences.append(f"{title_of(name)}: nothing to compare")
            continue
        far = [is_far(name, ours[e], theirs[e], max(theirs.values())) for e in epochs]
        length = min(IN_A_ROW, len(far))
        left = next((i for i in range(len(far) - length + 1) if all(far[i : i + length])), None)
        if left is None:
            sentences.append(f"{title_of(name)}: with the released run in {len(epochs)} compared epochs")
        else:
            e = epochs[left]
            value, expected = _number(ours[e], name), _number(theirs[e], name)
            sentences.append(f"{title_of(name)} leaves the released run after epoch {e}: {value}, released {expected}")
    return sentences


def _number(value: float, name: str) -> str:
    return f"{value:.1f}" if name in ("R1", "mAP", "acc") else f"{value:.3g}"


def _in_order(runs: Sequence[Curves]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in run.series)
    first = [name for name in ("R1", "mAP", "loss") if name in names]
    losses = sorted(name for name in names if name.startswith("loss_"))
    return [*first, *losses, *(name for name in ("acc", "lr") if name in names)]


def draw_curves(runs: Sequence[Curves], path: str | Path, released: Curves | None = None) -> None:
    """One panel a quantity over the epochs, the released run as a broad gray line behind the others.

    Args:
        runs: at least one.
        path: picture to write; its suffix says which kind (.png, .svg, .pdf).
        released: see above.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("curves need matplotlib: pip install 'mscmreid[report]'") from error
    behind = [released] if released else []
    names = _in_order([*runs, *behind])
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.9 * lines + 0.5), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for panel, name in zip(panels, names, strict=False):
        for run in behind:
            _line(panel, run, name, color="#b8bcc4", linewidth=4, solid_capstyle="round")
        for i, run in enumerate(runs):
            _line(
                panel,
                run,
                name,
                color=f"C{i}",
                linewidth=1.4,
                marker="." if len(run.series.get(name, {})) < 15 else None,
            )
        panel.set_title(title_of(name), loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
        panel.tick_params(labelsize=8)
    for panel in list(figure.axes)[len(names) :]:
        panel.remove()
    handles: Mapping[str, Any] = {
        label: handle for panel in figure.axes for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=4, fontsize=9, frameon=False)
    figure.supxlabel("epochs", fontsize=9)
    with written_atomically(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.removeprefix(".") or "png", dpi=130)


def _line(panel: Any, run: Curves, name: str, **style: Any) -> None:
    points = sorted(run.series.get(name, {}).items())
    if points:
        panel.plot(*zip(*points, strict=True), label=run.name, **style)
