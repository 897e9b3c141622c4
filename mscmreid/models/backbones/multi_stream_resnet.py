"""The network before the neck: private streams, a shared ResNet trunk, plugins between its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor

from mscmreid.models.backbones.pretrained import describe_weights, load_imagenet_state, pretrained_checkpoint
from mscmreid.models.backbones.resnet import SPECS, Stem, initialise, make_stage, torchvision_name
from mscmreid.models.backbones.streams import Stream, Streams, check_streams
from mscmreid.models.backbones.trunk import Trunk
from mscmreid.models.plugins.inserted import Plugins
from mscmreid.registry import MODELS
from mscmreid.structures import MODALITIES, Rows


@MODELS.register_module()
class MultiStreamResNet(BaseModule):
    """ResNet whose first layers exist once per stream and whose later stages are shared by all streams.

    With four streams of a first layer each it is MSCMNet's quadruple-stream feature extractor (QFE; MSCMNet, section
    3.2), with two the two-stream trunk of AGW, CAJ and DEEN. Stage 4 has stride 1 unless ``strides`` says otherwise.

    Args:
        depth: 18, 34, 50 or 101.
        image_size: (height, width) of the input, multiples of 16.
        streams: modality -> names of its streams. In training every view says which stream it goes through; in
            inference an image goes through all streams of its modality and the maps are averaged. A further key names
            streams of views that only training has.
        private: the last part that every stream has for itself: 'stem', 'stage1', 'stage2', ...; the stages behind it
            are the shared trunk.
        plugins: name -> component inserted into the trunk; see :class:`Plugins`. None takes one away.
        base_channels: width of stem and stage 1 (64 in ResNet); the other stages double it.
        strides: stride of each stage; its length is the number of stages (DEEN on RegDB ends after the third).
        channels_last: memory format of weights and maps.
        with_cp: recompute the stages' maps in the backward pass instead of keeping them (less memory, more time).
        init_cfg: ``dict(type='Pretrained', checkpoint='torchvision://resnet50')`` or a file: ImageNet weights, loaded
            into **every** stream and the trunk. None: from scratch.
    """

    _is_init: bool  # MMEngine's
    initial_weights: str | None = None
    """Which ImageNet weights were loaded; kept in checkpoints and results."""

    def __init__(
        self,
        depth: int = 50,
        image_size: Sequence[int] = (384, 192),
        streams: Mapping[str, Sequence[str]] | None = None,
        private: str = "stem",
        plugins: Mapping[str, dict | None] | None = None,
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
        stage_names = [f"stage{i + 1}" for i in range(len(strides))]
        parts = ["stem", *stage_names]
        if private not in parts[:-1]:
            raise ValueError(f"private must be one of {parts[:-1]}: the trunk keeps a stage; found {private!r}")
        self.image_size = (height, width)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        spec, names = SPECS[depth], check_streams(streams or {m: [m] for m in MODALITIES})

        channels, sizes = {"stem": base_channels}, {"stem": (height // 4, width // 4)}
        for i, (name, stride) in enumerate(zip(stage_names, strides, strict=True)):
            h, w = sizes[parts[i]]
            channels[name] = base_channels * 2**i * spec.block.expansion
            sizes[name] = ((h + stride - 1) // stride, (w + stride - 1) // stride)

        def stages(first: int, last: int) -> dict:
            return {
                stage_names[i]: make_stage(spec, i, channels[parts[i]], base_channels * 2**i, strides[i])
                for i in range(first, last)
            }

        num_private, num_stages = parts.index(private), len(stage_names)
        self.out_channels = channels[parts[-1]]
        self.streams = Streams(
            {
                name: Stream({"stem": Stem(base_channels), **stages(0, num_private)}, with_cp)
                for of_modality in names.values()
                for name in of_modality
            },
            names,
        )
        self.trunk = Trunk(stages(num_private, num_stages), with_cp)
        initialise(self)
        num_blocks = {name: spec.num_blocks[i] for i, name in enumerate(stage_names) if i >= num_private}
        self.plugins = Plugins({} if plugins is None else plugins, channels, sizes, num_blocks)
        self.to(memory_format=self.memory_format)

    def init_weights(self) -> None:
        """Load the ImageNet weights that ``init_cfg`` names into every stream and the trunk.

        Raises:
            ValueError: a weight is missing, or its shape does not fit this depth and width.
        """
        if self._is_init:
            return
        checkpoint = pretrained_checkpoint(self.init_cfg, "MultiStreamResNet")
        if checkpoint is not None:
            self.load_imagenet(load_imagenet_state(checkpoint), checkpoint)
            self.initial_weights = describe_weights(checkpoint)
        self._is_init = True

    def load_imagenet(self, state: Mapping[str, Tensor], source: str) -> None:
        """Copy a torchvision ResNet's ``state`` into every stream and the trunk (all of it, or an error)."""
        own = [*(stream.state_dict() for stream in self.streams.values()), self.trunk.state_dict()]
        pairs = [(torchvision_name(name), value) for part in own for name, value in part.items()]
        tracked = "num_batches_tracked"  # absent in old files
        missing = sorted({name for name, _ in pairs if name not in state and not name.endswith(tracked)})
        wrong = [
            f"{name} {tuple(state[name].shape)} for {tuple(value.shape)}"
            for name, value in pairs
            if name in state and state[name].shape != value.shape
        ]
        if missing or wrong:
            raise ValueError(
                f"ImageNet weights of {source} do not fit: missing {missing[:5]}, of another shape {wrong[:5]}; "
                "check depth and base_channels"
            )
        with torch.no_grad():
            for name, value in pairs:
                if name in state:
                    value.copy_(state[name])
        unused = sorted({key.split(".")[0] for key in state} - {name.split(".")[0] for name, _ in pairs})
        print_log(
            f"ImageNet weights from {source}: loaded into {len(self.streams)} streams and {len(self.trunk)} shared "
            f"stages; not used: {unused}",
            "current",
        )

    def forward(self, inputs: Mapping[str, Tensor], rows: Rows) -> tuple[dict[str, Tensor], Rows]:
        """``map`` of the last stage with what plugins add, and the record of its rows.

        Args:
            inputs: normalised images (N_i, 3, H, W) by stream (training) or by modality (inference).
            rows: one entry per image of ``inputs``, in its order.

        Returns:
            ``dict(map=(sum N_i * branches, out_channels, H/16, W/16), ...)`` and its rows.
        """
        images = {name: x.contiguous(memory_format=self.memory_format) for name, x in inputs.items()}
        maps = self.streams(images)  # stem (N, C, H/4, W/4), private stages
        if len(maps["stem"]) != len(rows):
            raise ValueError(f"{len(maps['stem'])} images came in, but rows describes {len(rows)}")
        return self.trunk(maps, rows, self.plugins)
