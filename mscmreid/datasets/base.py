"""What all data sets of people have in common: where they lie, rows, counts, cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import is_main_process

from mscmreid.cores import available_cores
from mscmreid.datasets import cache as image_cache
from mscmreid.datasets.listing import FolderScan, ImageRow
from mscmreid.datasets.loading import Resize, check_size
from mscmreid.datasets.statistics import Counts, count_rows, differences, statistics_table
from mscmreid.intake import PUBLISHED, Intake, UnreadableImageError, list_reasons
from mscmreid.progress import log


class ReIDDataset(BaseDataset):
    """People in two modalities, one row an image.

    A row has ``img_path`` (absolute), ``pid``, ``cam_id``, ``modality`` and, in a training split, ``label`` (0..C-1 in
    the order of pids). Rows are ordered by pid, camera, file name. An item is
    ``dict(inputs=(3, H, W) uint8 tensor, data_samples=ReIDDataSample)``. ``metainfo`` has ``dataset_name``, ``split``,
    ``subset``, ``data_root``, ``people`` (name of the data set -> its pids) and, in a training split, ``num_classes``.

    A subclass sets ``NAME``, ``SPLITS``, ``INTAKE`` (how its images are read) and ``published``, and implements
    ``scan`` (and ``belongs``).

    Args:
        data_root: the data set's folder. None looks for the folder ``NAME`` in the folder that the environment
            variable ``MSCMREID_DATA`` names, or in ``data``.
        split: one of ``SPLITS``.
        image_size: (H, W) of the images that come out.
        resize: Pillow's filter: 'lanczos', 'bicubic', 'bilinear', 'nearest', or a chain, see ``Resize.parse``.
        pipeline: transforms, as configs or callables; None means ``LoadImage`` alone.
        cache: decode every image once into a memory-mapped file (see ``mscmreid.datasets.cache``).
        cache_dir: folder of that file; None means ``data_root/.mscmreid_cache``.
        cache_workers: decoding threads; None means one a core.
        check_counts: compare with the published counts and warn where they differ; False for a part of a data set.
        on_error: 'raise' stops at images that cannot be decoded and names them; 'skip' counts them and leaves them
            out (not in training).
        intake: how images are read, as a dict of ``Intake``'s attributes: ``dict(depth_range=(0, 4095))`` for 12-bit
            frames. None: as the data set's published pipelines do; one's own images upright.
        name: what results and logs call the data set, where it is not the one that its layout is from; None means
            ``NAME``, or the folder's name for a class without one.
        allow_shared_people: of data that is validated or tested on: people of it may be among those that were trained
            on, and the numbers then say less. Otherwise that is an error.
        indices: take only the first n (int) or these rows.
        lazy_init: look at the disk at ``full_init`` and not at once.

    Raises:
        FileNotFoundError: the first folder or list that is missing, with what was looked for.
        ValueError: an unknown option, a list that cannot be read, images that cannot be decoded.
    """

    NAME: str = ""
    SPLITS: tuple[str, ...] = ("train", "test")
    INTAKE: Intake = PUBLISHED

    def __init__(
        self,
        data_root: str | None = None,
        split: str = "train",
        image_size: Sequence[int] = (384, 192),
        resize: str | Sequence = "lanczos",
        pipeline: Sequence[dict | Callable] | None = None,
        cache: bool = True,
        cache_dir: str | None = None,
        cache_workers: int | None = None,
        check_counts: bool = True,
        on_error: str = "raise",
        intake: Intake | Mapping[str, Any] | None = None,
        name: str | None = None,
        allow_shared_people: bool = False,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
    ) -> None:
        self.name = name or self.NAME or os.path.basename(os.path.abspath(data_root or ""))
        if split not in self.SPLITS:
            raise ValueError(f"{self.name} has the splits {self.SPLITS}, found split={split!r}")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', found {on_error!r}")
        self.subset = split
        self.training = split in ("train", "trainval")
        if self.training and on_error == "skip":
            raise ValueError(
                "on_error='skip' is for testing: in training a damaged image must be seen to (on_error='raise')"
            )
        self.image_size = check_size(image_size)
        self.resize = Resize.parse(resize)
        self.intake = Intake.of(intake, self.INTAKE)
        self._new_labels: np.ndarray | None = None
        self.use_cache = cache
        self.cache_dir = cache_dir
        self.cache_workers = cache_workers
        self.check_counts = check_counts
        self.on_error = on_error
        self.cache: image_cache.ImageCache | None = None
        super().__init__(
            data_root=find_data_root(data_root, self.name, self.NAME or self.name),
            data_prefix={},
            indices=indices,
            pipeline=[dict(type="mscmreid.LoadImage")] if pipeline is None else list(pipeline),
            test_mode=not self.training,
            lazy_init=True,
        )
        self._metainfo.update(
            dataset_name=self.name,
            split=self.split_name(),
            subset=self.subset,
            data_root=self.data_root,
            resize=str(self.resize),
        )
        if allow_shared_people:
            self._metainfo["allow_shared_people"] = True
        if self.intake != PUBLISHED:
            self._metainfo["intake"] = asdict(self.intake)
        if not lazy_init:
            self.full_init()

    def scan(self, folders: FolderScan) -> list[ImageRow]:
        """All images that share one cache, ordered by pid, camera, file name."""
        raise NotImplementedError(f"{type(self).__name__} must implement scan")

    def belongs(self, row: ImageRow) -> bool:
        """Whether a scanned image is one of this split."""
        return True

    def scope(self) -> str:
        """Name of the images that ``scan`` finds: data sets with one scope share a cache."""
        return self.subset

    def split_name(self) -> str:
        """What ``metainfo['split']`` says."""
        return self.subset

    def published(self) -> Counts | None:
        """modality -> (ids, images) as published, or None where nothing is."""
        return None

    def load_data_list(self) -> list[dict]:
        """Scan, compare the counts, open or build the cache; MMEngine calls this once, in ``full_init``."""
        folders = FolderScan(self.data_root)
        images = self.scan(folders)
        chosen = [position for position, row in enumerate(images) if self.belongs(row)]
        if not chosen:
            raise ValueError(f"{self.name} {self.subset}: no image found in {self.data_root!r}")
        self._report([images[position] for position in chosen], folders.others)
        undecodable = self._prepare_images(images, chosen)
        if undecodable:
            self._handle_undecodable(undecodable)
            chosen = [position for position in chosen if images[position].path not in undecodable]
        self._metainfo["people"] = {self.name: sorted({images[i].pid for i in chosen if images[i].pid >= 0})}
        labels = self._labels([images[position] for position in chosen])
        return [self._info(images[position], position, labels) for position in chosen]

    def rows(self) -> dict[str, Any]:
        """Columns over the rows.

        Returns:
            ``dict(path=list of str relative to data_root, pid=(N,) int64, cam_id=(N,) int64, modality=(N,) str)``,
            ``label=(N,) int64`` in training, and ``role=(N,) str`` where the data set has roles.
        """
        infos = [self.get_data_info(index) for index in range(len(self))]
        columns = _columns(infos, start=len(self.data_root.rstrip("/")) + 1, root=self.data_root)
        return columns if self._new_labels is None else {**columns, "label": self._new_labels}

    def relabel(self, labels: np.ndarray) -> None:
        """Give every row a new label, (N,) integers from 0; -1 leaves a row out of training.

        ``rows()`` and ``metainfo['num_classes']`` follow. Items do not, since data workers hold copies of the data set:
        in training the preprocessor looks labels up by row (its ``set_labels``).

        Raises:
            ValueError: not one label a row.
        """
        labels = np.asarray(labels)
        if labels.shape != (len(self),) or labels.dtype.kind not in "iu" or labels.min(initial=0) < -1:
            raise ValueError(
                f"{self.name} {self.subset} has {len(self)} rows, each of which needs a label from 0, or -1; found "
                f"{labels.dtype} of shape {labels.shape}, smallest {labels.min(initial=0)}"
            )
        self._new_labels = labels.astype(np.int64)
        self._metainfo["num_classes"] = int(labels.max(initial=-1)) + 1

    def statistics(self) -> str:
        """The table of ids, images and cameras of the rows (see ``statistics_table``)."""
        return statistics_table(self.rows(), f"{self.name} {self.subset}")

    def prepare_data(self, idx: int) -> Any:
        """Row ``idx`` through the pipeline, with its cached pixels if there are any."""
        info = self.get_data_info(idx)
        owner = self.owner(info)
        info.update(image_size=owner.image_size, resize=owner.resize, intake=owner.intake, data_root=owner.data_root)
        if owner.cache is not None:
            image = owner.cache.get(info["cache_row"])
            if image is not None:  # else it is decoded from its file
                info["image"] = image
        return self.pipeline(info)

    def owner(self, info: Mapping) -> ReIDDataset:
        """The data set whose folder and cache a row's image is in."""
        return self

    def get_subset_(self, indices: int | Sequence[int] | np.ndarray) -> None:
        """Keep only these rows (an array of indices will do as well), or the first n."""
        super().get_subset_(indices if isinstance(indices, int) else [int(index) for index in indices])

    def _info(self, row: ImageRow, position: int, labels: dict[int, int]) -> dict:
        info = dict(
            img_path=os.path.join(self.data_root, row.path),
            pid=row.pid,
            cam_id=row.cam_id,
            modality=row.modality,
            cache_row=position,
        )
        if self.training:
            info["label"] = labels[row.pid]
        if row.role:
            info["role"] = row.role
        return info

    def _labels(self, rows: Sequence[ImageRow]) -> dict[int, int]:
        if not self.training:
            return {}
        labels = {pid: label for label, pid in enumerate(sorted({row.pid for row in rows}))}
        self._metainfo["num_classes"] = len(labels)
        return labels

    def _report(self, rows: Sequence[ImageRow], others: Sequence[str]) -> None:
        """Log the table, what was not taken for an image, and how the counts differ from the published ones."""
        if not is_main_process():
            return
        columns = dict(
            pid=np.array([row.pid for row in rows]),
            cam_id=np.array([row.cam_id for row in rows]),
            modality=np.array([row.modality for row in rows]),
        )
        log(f"{self.data_root}\n{statistics_table(columns, f'{self.name} {self.subset}')}")
        if others:
            log(f"{self.name}: {len(others)} entries that are no images were left out, such as {others[0]!r}")
        published = self.published()
        if self.check_counts and published is not None:
            found = differences(count_rows(columns), published)
            if found:
                log(
                    f"{self.name} {self.subset} in {self.data_root!r} is not as published: {'; '.join(found)}. "
                    "Numbers made with it cannot be compared; where a part is meant, set check_counts=False",
                    logging.WARNING,
                )

    def _prepare_images(self, images: Sequence[ImageRow], chosen: Sequence[int]) -> dict[str, str]:
        """Open or build the cache; the images of this split that cannot be decoded, path -> reason."""
        if self.use_cache:
            self.cache = image_cache.open_or_build(
                images,
                self.data_root,
                self.image_size,
                f"{self.name}-{self.scope()}",
                self.cache_dir,
                self.cache_workers,
                self.resize,
                self.intake,
            )
            if is_main_process():
                log(f"image cache: {self.cache.path}")
            mine = {images[position].path for position in chosen}
            return {path: reason for path, reason in self.cache.undecodable.items() if path in mine}
        if self.on_error == "skip":  # without a cache nobody knows before the images are read
            workers = self.cache_workers or available_cores()
            rows = [images[position] for position in chosen]
            return image_cache.find_undecodable(rows, self.data_root, self.image_size, workers, self.intake)
        return {}

    def _handle_undecodable(self, undecodable: dict[str, str]) -> None:
        text = f"{self.name} {self.subset}: {len(undecodable)} image(s) cannot be decoded: "
        if self.on_error == "raise":
            cure = "Mend them, or take them out; in testing, on_error='skip' leaves them out and counts them"
            raise UnreadableImageError(f"{text}{list_reasons(undecodable)}. {cure}", undecodable)
        every = list_reasons(undecodable, most=None)
        log(f"{text}{every}. They are left out: {len(undecodable)} skipped", logging.WARNING)


def find_data_root(data_root: str | None, name: str, folder: str) -> str:
    """The absolute folder of a data set, or a FileNotFoundError that says what was looked for.

    Args:
        data_root: as the user gave it; None looks for ``folder`` in ``$MSCMREID_DATA``, or in ``data``.
        name: of the data set, for the message.
        folder: the usual name of the data set's folder.
    """
    home = os.environ.get("MSCMREID_DATA")
    path = os.path.abspath(os.path.expanduser(data_root or os.path.join(home or "data", folder)))
    if os.path.isdir(path):
        return path
    if data_root is not None:
        raise FileNotFoundError(
            f"{name} is missing: data_root={data_root!r} is {path!r}, where there is no folder (--cfg-options "
            "data_root=FOLDER says another)"
        )
    origin = f"from MSCMREID_DATA={home}" if home else "data_root is not given and MSCMREID_DATA is not set"
    raise FileNotFoundError(
        f"{name} is missing: looked for the folder {path!r} ({origin}). Give the folder as data_root (in the config, "
        "which load_config or RUNNERS.build reads, or with --cfg-options), or set MSCMREID_DATA to the folder that "
        f"holds {folder!r}"
    )


def _columns(infos: Sequence[dict], start: int, root: str) -> dict[str, Any]:
    paths = [info["img_path"] for info in infos]
    columns: dict[str, Any] = dict(
        path=[path[start:] if path.startswith(root) else path for path in paths],
        pid=np.array([info["pid"] for info in infos], dtype=np.int64),
        cam_id=np.array([info["cam_id"] for info in infos], dtype=np.int64),
        modality=np.array([info["modality"] for info in infos], dtype=str),
    )
    if infos and "label" in infos[0]:
        columns["label"] = np.array([info["label"] for info in infos], dtype=np.int64)
    if any("role" in info for info in infos):
        columns["role"] = np.array([info.get("role", "") for info in infos], dtype=str)
    return columns
