"""The network before the neck: stems by stream, one shared ResNet trunk, plugins between its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mscmreid.models.backbones.pretrained import load_imagenet_state
from mscmreid.models.backbones.resnet import SPECS, Stem, initialise, make_stage
from mscmreid.registry import MODELS
from mscmreid.structures import MODALITIES, Rows


@MODELS.register_module()
class MultiStreamResNet(BaseModule):
    """ResNet whose first layer exists once per stream and whose stages are shared by all streams.

    With four stems it is MSCMNet's quadruple-stream feature extractor (QFE; MSCMNet, section 3.2), with two it is
    the two-stream trunk of AGW, CAJ and DEEN. Stage 4 has stride 1 unless ``strides`` says otherwise.

    Args:
        depth: 18, 34, 50 or 101.
        image_size: (height, width) of the input, multiples of 16.
        stems: modality -> names of its stems. In training every view says which stem it goes through; in inference an
            image goes through all stems of its modality and the maps are averaged.
        plugins: components inserted into the trunk, as config dicts with one position key: ``after='stage3'`` (or a
            list of such) sits behind a stage, ``last=dict(stage2=2, stage3=3)`` behind each of a stage's last blocks.
            Where a stage has fewer blocks than ``last`` asks for, all of them get one (logged).
        base_channels: width of stem and stage 1 (64 in ResNet); the other stages double it.
        strides: stride of each stage; its length is the number of stages (DEEN on RegDB ends after the third).
        channels_last: memory format of weights and maps.
        with_cp: recompute the stages' maps in the backward pass instead of keeping them (less memory, more time).
        init_cfg: ``dict(type='Pretrained', checkpoint='torchvision://resnet50')`` or a file: ImageNet weights, loaded
            into **every** stem and the trunk. None: from scratch.
    """

    _is_init: bool  # MMEngine's

    def __init__(
        self,
        depth: int = 50,
        image_size: Sequence[int] = (384, 192),
        stems: Mapping[str, Sequence[str]] | None = None,
        plugins: Sequence[dict] = (),
        base_channels: int = 64,
        strides: Sequence[int] = (1, 2, 2, 1),
        channels_last: bool = True,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if depth not in SPECS:
            raise ValueError(f"depth must be one of {sorted(SPECS)}, found {depth}")
        height, width = image_size
        if height % 16 or width % 16 or height <= 0 or width <= 0:
            raise ValueError(f"image_size must be (height, width), multiples of 16, found {tuple(image_size)}")
        if not 1 <= len(strides) <= 4:
            raise ValueError(f"strides must name 1 to 4 stages, found {tuple(strides)}")
        self.spec = SPECS[depth]
        self.image_size = (height, width)
        self.with_cp = with_cp
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.stem_names = check_stems(stems or {m: [m] for m in MODALITIES})

        self.stems = nn.ModuleDict({name: Stem(base_channels) for m in MODALITIES for name in self.stem_names[m]})
        channels, sizes = {"stem": base_channels}, {"stem": (height // 4, width // 4)}
        previous = "stem"
        self.stage_names = [f"stage{i + 1}" for i in range(len(strides))]
        for i, (name, stride) in enumerate(zip(self.stage_names, strides, strict=True)):
            layer = make_stage(self.spec, i, channels[previous], base_channels * 2**i, stride)
            self.add_module(f"layer{i + 1}", layer)
            channels[name] = base_channels * 2**i * self.spec.block.expansion
            h, w = sizes[previous]
            sizes[name] = ((h + stride - 1) // stride, (w + stride - 1) // stride)
            previous = name
        self.out_channels = channels[previous]
        initialise(self)
        self.plugins = nn.ModuleDict()
        for cfg in plugins:
            self._add_plugin(dict(cfg), channels, sizes)
        self.to(memory_format=self.memory_format)

    def _add_plugin(self, cfg: dict, channels: dict[str, int], sizes: dict[str, tuple[int, int]]) -> None:
        after, last = cfg.pop("after", None), cfg.pop("last", None)
        if (after is None) == (last is None):
            raise ValueError(
                f"a plugin needs exactly one of 'after' and 'last', found {cfg | dict(after=after, last=last)}"
            )
        points = [(s, s) for s in ([after] if isinstance(after, str) else after or ())]
        for stage, count in (last or {}).items():
            num_blocks = len(self._stage(stage))
            if count > num_blocks:
                print_log(
                    f"{cfg['type']}: {stage} has {num_blocks} blocks, fewer than the {count} asked for; all get one",
                    "current",
                )
            points += [(stage, f"{stage}_block{i}") for i in range(max(0, num_blocks - count), num_blocks)]
        for stage, point in points:
            self._stage(stage)
            known = [name for name in ("stem", *self.stage_names) if name <= stage or name == "stem"]
            module = MODELS.build(
                dict(
                    cfg,
                    after=stage,
                    channels={"x": channels[stage], **{n: channels[n] for n in known}},
                    sizes={"x": sizes[stage], **{n: sizes[n] for n in known}},
                )
            )
            self.plugins[point] = nn.ModuleList([*self._plugins_at(point), module])

    def _stage(self, name: str) -> nn.Sequential:
        """The blocks of 'stage1' to 'stage4'."""
        if name not in self.stage_names:
            raise ValueError(f"a plugin's position must be one of {self.stage_names}, found {name!r}")
        return getattr(self, f"layer{name.removeprefix('stage')}")

    def init_weights(self) -> None:
        """Load the ImageNet weights that ``init_cfg`` names into every stem and the trunk.

        Raises:
            ValueError: a weight is missing, or its shape does not fit this depth and width.
        """
        if self._is_init:
            return
        cfg = self.init_cfg
        if cfg:
            if cfg.get("type") != "Pretrained":
                raise ValueError(f"init_cfg of MultiStreamResNet must be of type 'Pretrained', found {cfg}")
            self.load_imagenet(load_imagenet_state(cfg["checkpoint"]), cfg["checkpoint"])
        self._is_init = True

    def load_imagenet(self, state: Mapping[str, Tensor], source: str) -> None:
        """Copy a torchvision ResNet's ``state`` into every stem and the trunk (all of it, or an error)."""
        own = {k: v for k, v in self.state_dict().items() if k.startswith(("stems.", "layer"))}
        names = {k: ".".join(k.split(".")[2:]) if k.startswith("stems.") else k for k in own}
        tracked = "num_batches_tracked"  # absent in old files
        missing = sorted({n for n in names.values() if n not in state and not n.endswith(tracked)})
        wrong = [
            f"{n} {tuple(state[n].shape)} for {tuple(own[k].shape)}"
            for k, n in names.items()
            if n in state and state[n].shape != own[k].shape
        ]
        if missing or wrong:
            raise ValueError(
                f"ImageNet weights of {source} do not fit: missing {missing[:5]}, of another shape {wrong[:5]}; "
                "check depth and base_channels"
            )
        with torch.no_grad():
            for key, name in names.items():
                if name in state:
                    own[key].copy_(state[name])
        unused = sorted({k.split(".")[0] for k in state} - {n.split(".")[0] for n in names.values()})
        print_log(
            f"ImageNet weights from {source}: loaded into {len(self.stems)} stems and {len(self.stage_names)} stages; "
            f"not used: {unused}",
            "current",
        )

    def forward(self, inputs: Mapping[str, Tensor], rows: Rows) -> tuple[Tensor, Rows]:
        """Map of the last stage and the record of its rows.

        Args:
            inputs: normalised images (N_i, 3, H, W) by stem (training) or by modality (inference).
            rows: one entry per image of ``inputs``, in its order.

        Returns:
            (sum N_i * branches, out_channels, H/16, W/16) and its rows.
        """
        x = torch.cat([self._stem_map(name, images) for name, images in inputs.items()])  # (N, C, H/4, W/4)
        if len(x) != len(rows):
            raise ValueError(f"{len(x)} images came in, but rows describes {len(rows)}")
        maps = {"stem": x}
        for name in self.stage_names:
            for i, block in enumerate(self._stage(name)):
                x = checkpoint(block, x, use_reentrant=False) if self.with_cp and self.training else block(x)
                x, rows = self._plug(f"{name}_block{i}", x, maps, rows)
            x, rows = self._plug(name, x, maps, rows)
            maps[name] = x
        return x, rows

    def _stem_map(self, name: str, images: Tensor) -> Tensor:
        """Map of one stem, or the mean over a modality's stems."""
        images = images.contiguous(memory_format=self.memory_format)
        names = [name] if name in self.stems else self.stem_names.get(name)
        if names is None:
            raise ValueError(
                f"inputs must be keyed by stem {list(self.stems)} or modality {list(MODALITIES)}, found {name!r}"
            )
        out = self.stems[names[0]](images)
        for other in names[1:]:
            out = out + self.stems[other](images)
        return out / len(names) if len(names) > 1 else out

    def _plug(self, point: str, x: Tensor, maps: dict[str, Tensor], rows: Rows) -> tuple[Tensor, Rows]:
        for plugin in self._plugins_at(point):
            x, rows = plugin(x, maps, rows)
        return x, rows

    def _plugins_at(self, point: str) -> Iterable[nn.Module]:
        return cast(nn.ModuleList, self.plugins[point]) if point in self.plugins else ()


def check_stems(stems: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Stem names by modality, checked: both modalities, no name twice, none that stands for something else."""
    if set(stems) != set(MODALITIES) or not all(stems.values()):
        raise ValueError(f"stems must name at least one stem for each of {MODALITIES}, found {dict(stems)}")
    names = [name for m in MODALITIES for name in stems[m]]
    if len(set(names)) != len(names):
        raise ValueError(f"a stem's name may stand once, found {names}")
    for m in MODALITIES:
        if m in names and list(stems[m]) != [m]:
            raise ValueError(f"a stem may be named {m!r} only if it is that modality's only one, found {dict(stems)}")
    return {m: list(stems[m]) for m in MODALITIES}
