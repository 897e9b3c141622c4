"""The order in which training sees rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mscmreid.registry import DATA_SAMPLERS
from mscmreid.structures import MODALITIES


@DATA_SAMPLERS.register_module()
class CrossModalityIdentitySampler(Sampler):
    """Batches of P people, K visible and K infrared images each.

    A batch is drawn for all processes together: P ids without replacement, then K images an id and modality with
    replacement, from (seed, epoch) alone. Of W processes, number r gets the visible rows [r*P*K/W, (r+1)*P*K/W) and
    then the same slice of the infrared rows, so the union over the processes is the same for every W.

    In a config this is the dataloader's ``sampler``; ``batch_size`` is 2*P*K/W then. An epoch has
    max(visible images, infrared images) // (P*K) + 1 batches (SYSU-MM01, P*K = 24: 928).

    Args:
        dataset: has ``rows()`` with the columns ``pid`` and ``modality``.
        num_ids: P.
        num_instances: K, per id and modality.
        seed: None takes one that all processes agree on.
        num_batches: batches of an epoch; None as said above.
        drop_single_modality: leave out ids that have images in one modality only, instead of refusing them.

    Raises:
        ValueError: fewer ids than P, an id without images in a modality, P*K that W does not divide.
    """

    def __init__(
        self,
        dataset,
        num_ids: int,
        num_instances: int,
        seed: int | None = None,
        num_batches: int | None = None,
        drop_single_modality: bool = False,
    ) -> None:
        if not hasattr(dataset, "rows"):
            raise ValueError(
                f"the sampler needs a data set with rows(), such as a ReIDDataset, found {type(dataset).__name__}"
            )
        if min(num_ids, num_instances, 1 if num_batches is None else num_batches) < 1:
            raise ValueError(
                "num_ids, num_instances and num_batches must be positive, found "
                f"{num_ids}, {num_instances}, {num_batches}"
            )
        self.rank, self.world_size = get_dist_info()
        if num_ids * num_instances % self.world_size:
            raise ValueError(
                f"num_ids x num_instances = {num_ids} x {num_instances} = {num_ids * num_instances} must be divisible "
                f"by the number of processes, {self.world_size}"
            )
        self.num_ids, self.num_instances = num_ids, num_instances
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        rows = dataset.rows()
        by_id = [indices_by_id(rows["pid"], rows["modality"] == name) for name in MODALITIES]
        self.pids = self._pids_in_both(by_id, drop_single_modality)
        self._tables = [index_table([indices[pid] for pid in self.pids]) for indices in by_id]
        largest = max(int(sum(len(indices[pid]) for pid in self.pids)) for indices in by_id)
        self.num_batches = largest // (num_ids * num_instances) + 1 if num_batches is None else num_batches

    def _pids_in_both(self, by_id: Sequence[dict[int, np.ndarray]], drop: bool) -> list[int]:
        both = sorted(by_id[0].keys() & by_id[1].keys())
        single = sorted(by_id[0].keys() ^ by_id[1].keys())
        if single and not drop:
            raise ValueError(
                f"{len(single)} ids have images in one modality only, such as {single[:10]}. "
                "A batch needs both; take these ids out, or set drop_single_modality=True"
            )
        if len(both) < self.num_ids:
            raise ValueError(f"a batch needs num_ids={self.num_ids} different ids, the data set has {len(both)}")
        return both

    @property
    def batch_size(self) -> int:
        """Rows of one process's batch, 2*P*K/W: what the dataloader's ``batch_size`` must be."""
        return 2 * self.num_ids * self.num_instances // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next pass draws for; the runner calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Rows of this process in an epoch."""
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        batches = self.draw(self.epoch)  # (batches, 2, P*K)
        part = batches.shape[2] // self.world_size
        return iter(batches[:, :, self.rank * part : (self.rank + 1) * part].reshape(-1).tolist())

    def draw(self, epoch: int) -> np.ndarray:
        """The epoch's global batches: (num_batches, 2, P*K) indices into the data set, visible then infrared."""
        # The legacy generator's stream is frozen for good, unlike that of numpy's newer one.
        random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([self.seed, epoch])))
        order = random.random_sample((self.num_batches, len(self.pids))).argsort(axis=1, kind="stable")
        people = order[:, : self.num_ids]  # (B, P)
        batches = []
        for table, counts in self._tables:
            chance = random.random_sample((*people.shape, self.num_instances))  # (B, P, K)
            which = (chance * counts[people][..., None]).astype(np.int64)
            batches.append(table[people[..., None], which].reshape(self.num_batches, -1))
        return np.stack(batches, axis=1)


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
