"""Several data sets as one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mscmreid.datasets.base import ReIDDataset
from mscmreid.datasets.loading import check_size
from mscmreid.registry import DATASETS


@DATASETS.register_module()
class ConcatReIDDataset(ReIDDataset):
    """Training splits of several data sets, one behind the other, people and cameras kept apart.

    Pids and camera numbers of each set are those of its own plus what the sets before it need, so that no two sets
    share one; labels are 0..C-1 over all. ``metainfo`` has ``members``: for each set ``dict(dataset_name, split,
    first_pid, first_cam, num_classes)``, where ``first_pid`` and ``first_cam`` are what was added. Each set keeps its
    own cache.

    Args:
        datasets: name -> config of a ``ReIDDataset`` of a training split, in this order; the names are for the config.
        data_root: the folder that the sets' folders lie in, by their usual names (``data_root/SYSU-MM01``); for those
            whose config says no ``data_root``. None leaves it to each of them.
        split: 'train'.
        image_size: (H, W) of the images that come out, of every set.
        indices, lazy_init: see ``ReIDDataset``.
        base: other options of ``ReIDDataset``, for every set whose config does not say them.

    Raises:
        ValueError: no set, or one that is no training split.
        FileNotFoundError: a set's folder is missing.
    """

    SPLITS = ("train",)

    def __init__(
        self,
        datasets: Mapping[str, Mapping[str, Any]],
        data_root: str | None = None,
        split: str = "train",
        image_size: Sequence[int] = (384, 192),
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
        **base: Any,
    ) -> None:
        if not datasets:
            raise ValueError("a ConcatReIDDataset needs at least one data set, found none")
        self.members = [
            self._member({"image_size": check_size(image_size), **base, **config}, data_root)
            for config in datasets.values()
        ]
        for name, member in zip(datasets, self.members, strict=True):
            if not member.training:
                raise ValueError(
                    f"datasets.{name}: expected a training split, which has labels; found {member.name} {member.subset}"
                )
        pipeline = base.pop("pipeline", None)
        super().__init__(
            data_root=os.path.commonpath([member.data_root for member in self.members]),
            split=split,
            image_size=image_size,
            pipeline=pipeline,
            name="+".join(member.name for member in self.members),
            indices=indices,
            lazy_init=lazy_init,
        )

    @staticmethod
    def _member(config: Mapping[str, Any], home: str | None) -> ReIDDataset:
        config = dict(config, lazy_init=True)
        known_as = getattr(DATASETS.get(config["type"]), "NAME", "")
        if home is not None and known_as:
            config.setdefault("data_root", os.path.join(home, known_as))
        return DATASETS.build(config)

    def split_name(self) -> str:
        return "+".join(member.split_name() for member in self.members)

    def load_data_list(self) -> list[dict]:
        rows: list[dict] = []
        first_pid = first_cam = first_label = 0
        described = []
        people: dict[str, list[int]] = {}
        for number, member in enumerate(self.members):
            member.full_init()
            num_classes = member.metainfo["num_classes"]
            own = [member.get_data_info(index) for index in range(len(member))]
            for row in own:
                del row["sample_idx"]
                row["pid"] += first_pid
                row["cam_id"] += first_cam
                row["label"] += first_label
                row["member"] = number
            for name, pids in member.metainfo["people"].items():
                people[name] = sorted({*people.get(name, []), *pids})
            described.append(
                dict(
                    dataset_name=member.name,
                    split=member.split_name(),
                    first_pid=first_pid,
                    first_cam=first_cam,
                    num_classes=num_classes,
                )
            )
            first_pid = max(row["pid"] for row in own) + 1
            first_cam = max(row["cam_id"] for row in own) + 1
            first_label += num_classes
            rows += own
        self._metainfo.update(num_classes=first_label, members=described, people=people)
        return rows

    def owner(self, info: Mapping) -> ReIDDataset:
        return self.members[info["member"]]
