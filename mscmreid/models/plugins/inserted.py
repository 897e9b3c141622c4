"""The plugins of a backbone by name, each at one or more points of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.logging import print_log
from torch import Tensor, nn

from mscmreid.models.build import build_part
from mscmreid.structures import Rows


class Plugins(nn.ModuleDict):
    """Name -> point -> plugin; where several stand at one point, they follow the order of the config.

    Points are a stage's name ('stage3': behind it) or that of one of its blocks ('stage3_block5').

    Args:
        cfgs: name -> config of a plugin with one position key: ``after='stage3'`` (or a list of such) puts it behind
            a stage, ``last=dict(stage2=2, stage3=3)`` behind each of a stage's last blocks (all of them, which is
            logged, where it has fewer). None: no such plugin.
        channels, sizes: channels and (h, w) of the maps by name, in the order in which they are made.
        num_blocks: stage -> number of its blocks, of the stages behind which a plugin may stand.

    Raises:
        ValueError: a position is missing or unknown.
    """

    def __init__(
        self,
        cfgs: Mapping[str, dict | None],
        channels: Mapping[str, int],
        sizes: Mapping[str, tuple[int, int]],
        num_blocks: Mapping[str, int],
    ) -> None:
        super().__init__()
        if not isinstance(cfgs, Mapping):
            raise ValueError(f"plugins must be a dict, name -> config, found {cfgs}")
        names = list(channels)
        for plugin, cfg in cfgs.items():
            if cfg is None:
                continue
            cfg = dict(cfg)
            points = {}
            for stage, point in _points(plugin, cfg, num_blocks):
                earlier = names[: names.index(stage)]
                known = {
                    "channels": {"x": channels[stage], **{n: channels[n] for n in earlier}},
                    "sizes": {"x": sizes[stage], **{n: sizes[n] for n in earlier}},
                }
                points[point] = build_part(cfg, after=stage, **known)
            self[plugin] = nn.ModuleDict(points)

    def insert(
        self, point: str, x: Tensor, maps: Mapping[str, Tensor], rows: Rows, outputs: dict[str, Tensor]
    ) -> tuple[Tensor, Rows]:
        """The map and its rows behind the plugins that stand at a point; their outputs are added to ``outputs``."""
        for plugin, points in self.items():
            if point not in points:  # type: ignore[operator]
                continue
            x, rows, *more = points[point](x, maps, rows)  # type: ignore[index]
            for name, value in (more[0] if more else {}).items():
                if name in outputs:
                    raise ValueError(f"plugin {plugin!r} at {point!r}: there is an output {name!r} already")
                outputs[name] = value
        return x, rows


def _points(plugin: str, cfg: dict, num_blocks: Mapping[str, int]) -> Sequence[tuple[str, str]]:
    """(stage, point) of each of a plugin's places; takes the position key out of its config."""
    after, last = cfg.pop("after", None), cfg.pop("last", None)
    if (after is None) == (last is None):
        raise ValueError(f"plugin {plugin!r} needs exactly one of 'after' and 'last', found after={after}, last={last}")
    points = [(s, s) for s in ([after] if isinstance(after, str) else after or ())]
    for stage, _ in [*points, *(last or {}).items()]:
        if stage not in num_blocks:
            raise ValueError(f"plugin {plugin!r}: its position must be one of {list(num_blocks)}, found {stage!r}")
    for stage, count in (last or {}).items():
        blocks = num_blocks[stage]
        if count > blocks:
            print_log(
                f"{plugin}: {stage} has {blocks} blocks, fewer than the {count} asked for; all get one", "current"
            )
        points += [(stage, f"{stage}_block{i}") for i in range(max(0, blocks - count), blocks)]
    return points
