"""Which rows make a batch, and the order of batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mscmreid.registry import DATA_SAMPLERS
from mscmreid.structures import MODALITIES


class ReIDBatchSampler(Sampler[list[int]]):
    """Base of batch samplers: batches of all processes together, drawn from (seed, epoch) alone.

    In a config: ``train_dataloader=dict(batch_sampler=dict(type=..., num_ids=P, ...))``, with neither ``batch_size``
    nor ``sampler`` beside it. A batch has several parts (visible rows, infrared rows); of W processes, number r gets
    the r-th of W even runs of every part, so the union over the processes is the same for every W.

    A subclass sets ``num_batches`` and ``part_sizes`` (rows of each part of a global batch), calls
    ``check_parts`` and implements ``read_rows`` and ``draw``.

    Args:
        dataset: has ``rows()``, columns over its rows (see ``ReIDDataset.rows``).
        seed: None takes one that all processes agree on.
    """

    num_batches: int
    part_sizes: tuple[int, ...]

    def __new__(cls, *args: Any, **kwargs: Any) -> ReIDBatchSampler:
        """Says what to do where MMEngine's own Runner makes one."""
        if "sampler" in kwargs and "batch_size" in kwargs:
            raise ValueError(
                f"{cls.__name__} makes batches for all processes together, which mmengine's own Runner cannot use: in "
                "the place of Runner.from_cfg(cfg), mmengine.registry.RUNNERS.build(cfg) or "
                "mscmreid.engine.ReIDRunner.from_cfg(cfg) give one that can"
            )
        return super().__new__(cls)

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        if not hasattr(dataset, "rows"):
            raise ValueError(
                f"the sampler needs a data set with rows(), such as a ReIDDataset, found {type(dataset).__name__}"
            )
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0

    def check_parts(self) -> None:
        """A ValueError where a part cannot be shared out evenly over the processes."""
        for size in self.part_sizes:
            if size % self.world_size:
                raise ValueError(
                    f"{size} rows of a batch's part must be divisible by the number of processes, {self.world_size}"
                )

    def read_rows(self, rows: Mapping[str, Any]) -> None:
        """Take over the table of rows; called again whenever rows are relabelled (rows of label -1 are left out)."""
        raise NotImplementedError

    def draw(self, epoch: int) -> Sequence[np.ndarray]:
        """The epoch's global batches: for each part (num_batches, part size) indices into the data set.

        All chance comes from (``self.seed``, ``epoch``).
        """
        raise NotImplementedError

    @property
    def global_batch_size(self) -> int:
        """Images of a batch over all processes."""
        return sum(self.part_sizes)

    @property
    def sampler(self) -> ReIDBatchSampler:
        """Itself: where MMEngine looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next pass draws for; a hook of the runner calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.num_batches

    def __iter__(self) -> Iterator[list[int]]:
        own = []
        for part in self.draw(self.epoch):  # (batches, rows)
            share = part.shape[1] // self.world_size
            own.append(part[:, self.rank * share : (self.rank + 1) * share])
        return iter(np.concatenate(own, axis=1).tolist())


@DATA_SAMPLERS.register_module()
class CrossModalityBatchSampler(ReIDBatchSampler):
    """Batches of P people, K visible and then K infrared images of each: 2 x P x K in all, over all processes.

    P ids are drawn without replacement, then K images an id and modality. An epoch has
    max(visible images, infrared images) // (P*K) + 1 batches (SYSU-MM01, P*K = 24: 928).

    Args:
        dataset: has ``rows()`` with the columns ``modality`` and ``label`` (or, where there are no labels, ``pid``).
        num_ids: P.
        num_instances: K, per id and modality.
        replacement: whether an image may come twice in a batch; False needs K images of each id and modality.
        seed: None takes one that all processes agree on.
        num_batches: batches of an epoch; None as said above.
        drop_single_modality: leave out ids that have images in one modality only, instead of refusing them.

    Raises:
        ValueError: fewer ids than P, an id without (enough) images in a modality, P*K that W processes do not divide.
    """

    def __init__(
        self,
        dataset: Any,
        num_ids: int,
        num_instances: int,
        replacement: bool = True,
        seed: int | None = None,
        num_batches: int | None = None,
        drop_single_modality: bool = False,
    ) -> None:
        super().__init__(dataset, seed)
        meta = getattr(dataset, "metainfo", {})
        self._source = f"{meta.get('dataset_name', 'the data set')} in {meta.get('data_root', 'memory')!r}"
        if min(num_ids, num_instances, 1 if num_batches is None else num_batches) < 1:
            raise ValueError(
                "num_ids, num_instances and num_batches must be positive, found "
                f"{num_ids}, {num_instances}, {num_batches}"
            )
        if num_ids == 1:
            raise ValueError("num_ids=1: a batch of one person has nobody to tell them from; expected 2 or more")
        self.num_ids, self.num_instances = num_ids, num_instances
        self.replacement = replacement
        self.drop_single_modality = drop_single_modality
        self.part_sizes = (num_ids * num_instances,) * 2
        self._wanted_batches = num_batches
        self.check_parts()
        self.read_rows(dataset.rows())

    def read_rows(self, rows: Mapping[str, Any]) -> None:
        """Group the rows by label (or pid) and modality."""
        pid = np.asarray(rows["pid"])
        key = np.asarray(rows.get("label", pid))
        by_id = [indices_by_id(key, (rows["modality"] == name) & (key >= 0)) for name in MODALITIES]
        names = {int(k): int(p) for k, p in zip(key, pid, strict=True)}  # messages speak of pids
        ids = self._ids_in_both(by_id, names)
        self._tables = [index_table([indices[i] for i in ids]) for indices in by_id]
        if not self.replacement:
            for modality, (_, counts) in zip(MODALITIES, self._tables, strict=True):
                if (few := np.flatnonzero(counts < self.num_instances)).size:
                    raise ValueError(
                        f"without replacement every id needs num_instances={self.num_instances} {modality} images, "
                        f"but {names[ids[few[0]]]} has {counts[few[0]]} ({len(few)} such ids): set replacement=True"
                    )
        largest = max(int(counts.sum()) for _, counts in self._tables)
        default = largest // (self.num_ids * self.num_instances) + 1
        self.num_batches = default if self._wanted_batches is None else self._wanted_batches

    def _ids_in_both(self, by_id: Sequence[dict[int, np.ndarray]], names: Mapping[int, int]) -> list[int]:
        both = sorted(by_id[0].keys() & by_id[1].keys())
        for modality, other, found, others in zip(MODALITIES, MODALITIES[::-1], by_id, by_id[::-1], strict=True):
            if not found:
                raise ValueError(
                    f"{self._source}: no {modality} image among the training rows ({len(others)} people with {other} "
                    "images): batches need both modalities"
                )
        if not both:
            raise ValueError(
                f"{self._source}: nobody has images in both modalities ({len(by_id[0])} people in visible, "
                f"{len(by_id[1])} others in infrared images); a person's number must be the same in both"
            )
        single = sorted(names[i] for i in by_id[0].keys() ^ by_id[1].keys())
        if single and not self.drop_single_modality:
            raise ValueError(
                f"{len(single)} ids have images in one modality only, such as {single[:10]}. "
                "A batch needs both; take these ids out, or set drop_single_modality=True"
            )
        if len(both) < self.num_ids:
            raise ValueError(f"a batch needs num_ids={self.num_ids} different ids, the data set has {len(both)}")
        return both

    def draw(self, epoch: int) -> list[np.ndarray]:
        """The epoch's global batches: visible and infrared (num_batches, P*K) indices into the data set."""
        random = epoch_random(self.seed, epoch)
        order = random.random_sample((self.num_batches, len(self._tables[0][1]))).argsort(axis=1, kind="stable")
        people = order[:, : self.num_ids]  # (B, P)
        parts = []
        for table, counts in self._tables:
            if self.replacement:
                chance = random.random_sample((*people.shape, self.num_instances))  # (B, P, K)
                which = (chance * counts[people][..., None]).astype(np.int64)
            else:
                chance = random.random_sample((*people.shape, table.shape[1]))  # (B, P, longest)
                chance[np.arange(table.shape[1]) >= counts[people][..., None]] = 2.0  # padding comes last
                which = chance.argsort(axis=2, kind="stable")[..., : self.num_instances]  # (B, P, K)
            parts.append(table[people[..., None], which].reshape(self.num_batches, -1))
        return parts


def epoch_random(seed: int, epoch: int) -> np.random.RandomState:
    """A generator of (seed, epoch); the legacy generator's stream is frozen for good, unlike numpy's newer one."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, epoch])))


def indices_by_id(pid: np.ndarray, mask: np.ndarray) -> dict[int, np.ndarray]:
    """pid -> ascending indices of its rows, among the rows in ``mask``."""
    indices = np.flatnonzero(mask)
    order = indices[np.argsort(pid[indices], kind="stable")]
    pids, starts = np.unique(pid[order], return_index=True)
    return {int(p): part for p, part in zip(pids, np.split(order, starts[1:]), strict=True)} if len(order) else {}


def index_table(indices: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Ragged rows as one (C, longest) array, padded with -1, and their lengths (C,)."""
    counts = np.array([len(row) for row in indices], dtype=np.int64)
    table = np.full((len(indices), counts.max()), -1, dtype=np.int64)
    for line, row in zip(table, indices, strict=True):
        line[: len(row)] = row
    return table, counts
