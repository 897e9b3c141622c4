"""A gallery of images on disk: made once, added to every day, asked at any time.

It needs neither torch nor MMEngine; the encoder that makes its features may.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.intake import Intake, check_images, unreadable_images
from mscmreid.modalities import MODALITIES, modality_index
from mscmreid.near_names import did_you_mean, shortened
from mscmreid.retrieval.adding import SEGMENT, Adding, AddReport, Described, Describing, checked_rows, with_removed
from mscmreid.retrieval.calibration import NOT_CALIBRATED, Calibration, ScoreModel, kind_of
from mscmreid.retrieval.columns import Columns
from mscmreid.retrieval.encoder import Encoder, Image, as_encoder
from mscmreid.retrieval.engines import Engine, make_engine
from mscmreid.retrieval.files import image_files
from mscmreid.retrieval.filters import Filter, time_text
from mscmreid.retrieval.snapshot import Snapshot
from mscmreid.retrieval.storage import DTYPES, Manifest, SegmentEntry, Storage, differences, files_of

__all__ = ["AddReport", "Filter", "Gallery", "Hit"]

MANY_SMALL, MUCH_REMOVED = 64, 0.25
"""Segments below half their size, and share of removed rows, at which a gallery is put in order by itself."""


@dataclass(frozen=True)
class Hit:
    """One image of an answer.

    Attributes:
        path: of the image file.
        score: cosine of its feature and the query's.
        camera, time, modality, id: what is known of it; the time in ISO 8601.
        row: its number in the gallery, which no other image has or will have.
        verdict: 'same person, likely' or 'below the threshold'; '' without a calibration for these modalities.
        probability: that it is the same person, if people come as often as in the calibration's pairs.
    """

    path: str
    score: float
    camera: str | None
    time: str | None
    modality: str
    id: str | None
    row: int
    verdict: str = ""
    probability: float | None = None


class Gallery:
    """Images, their features and what is known of them, in a folder (:mod:`mscmreid.retrieval.storage`).

    An object sees the version that was there when it was opened (or last wrote, or was refreshed), whatever others do.
    One process writes at a time; any number read.
    """

    def __init__(self, path: str | Path, encoder: Encoder | None = None) -> None:
        """Use :meth:`create` or :meth:`open`."""
        self.storage = Storage(os.path.abspath(path))
        self.encoder = encoder
        self.snapshot = Snapshot.open(self.storage)
        self.calibration = Calibration.load(self.storage.path)
        self.engines: dict[str, Engine] = {}
        if encoder is not None:
            self._check_encoder(encoder)

    @classmethod
    def create(cls, path: str | Path, encoder: Any, *, dtype: str = "float32") -> Gallery:
        """A new, empty gallery.

        Args:
            path: its folder, which must be new or empty.
            encoder: makes its features: an :class:`Encoder`, or a model of :func:`mscmreid.apis.init_model`.
            dtype: of the features on disk: 'float32', or 'float16', half as large and half as much to read; a
                similarity then moves by about 1e-4.

        Raises:
            ValueError: a folder that is not empty, an unknown dtype.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, found {dtype!r}")
        encoder = as_encoder(encoder)
        folder = require_new(path)
        folder.mkdir(parents=True, exist_ok=True)
        storage = Storage(folder.absolute())
        with storage.writing():
            if storage.exists():
                raise ValueError(f"a gallery was made in {folder} at the same moment")
            storage.write_manifest(Manifest(0, dict(encoder.identity), encoder.dim, dtype))
        return cls(folder, encoder)

    @classmethod
    def open(cls, path: str | Path, encoder: Any = None) -> Gallery:
        """The gallery in a folder.

        Args:
            path: the folder.
            encoder: the one that made it, to add and to ask with images. None: to ask with features, or to look at it.

        Raises:
            FileNotFoundError: no gallery there.
            ValueError: the encoder is another than the one that made it, or a file is damaged.
        """
        return cls(path, None if encoder is None else as_encoder(encoder))

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.storage.path

    @property
    def identity(self) -> dict[str, Any]:
        """Of the encoder that made its features."""
        return self.snapshot.manifest.identity

    @property
    def dim(self) -> int:
        """Width of a feature."""
        return self.snapshot.dim

    def __len__(self) -> int:
        return self.snapshot.manifest.num_rows

    def refresh(self) -> bool:
        """See what others have written meanwhile; whether there were other images."""
        self.calibration = Calibration.load(self.storage.path)
        if self.storage.read_manifest().version == self.snapshot.manifest.version:
            return False
        self.snapshot = Snapshot.open(self.storage)
        return True

    # -------------------------------------------------------------------------------------------------- writing

    def add(
        self,
        images: str | Path | Sequence[str | Path],
        modality: str,
        camera: Describing = None,
        time: Any = None,
        ids: Describing = None,
        on_error: str = "raise",
    ) -> AddReport:
        """Add images; all of them or, if anything goes wrong, none.

        An image that is there with the same content and description is left alone; one whose file has other content,
        or of which other things are said, is replaced. What an interrupted call had done is used by the next one.

        Args:
            images: a folder (its subfolders, too), a list, a file, or several (:func:`mscmreid.intake.find_images`).
            modality: 'visible' or 'infrared', of all of them.
            camera, time, ids: see :func:`mscmreid.retrieval.adding.describe`: one value for all, one each, or a
                function of the file's name. None: not said, which leaves what was said before.
            on_error: 'raise': files that cannot be read are all named and nothing is added; 'skip': they are left out
                and named in the report.

        Raises:
            FileNotFoundError: no such file or folder, or no image in it.
            UnreadableImageError: files that cannot be read.
            BlockingIOError: another process is writing.
            ValueError: the gallery has no encoder; an unknown option.
        """
        self._need_encoder("add images")
        return self.add_described(Described.of(images, modality, camera, time, ids), on_error)

    def add_described(self, described: Described, on_error: str = "raise") -> AddReport:
        """:meth:`add`, of images that were described before, such as before an encoder was loaded."""
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', found {on_error!r}")
        encoder = self._need_encoder("add images")
        if described.skipped and on_error == "raise":  # before any feature is made
            bad = check_images([item.path for item in described.wanted], self.intake)
            raise unreadable_images({**described.skipped, **bad})
        with self.storage.writing():
            self.refresh()
            adding = Adding(self.storage, self.snapshot, encoder, on_error)
            adding.report.skipped |= described.skipped
            manifest = adding.run(described.wanted, described.folders)
            if manifest is not None:
                self._commit(manifest)
        return adding.report

    def remove(
        self,
        where: Filter | Mapping[str, Any] | None = None,
        paths: Iterable[str | Path] | str | Path | None = None,
        rows: Iterable[int] | None = None,
    ) -> int:
        """Take images out; how many. Their files are not touched.

        Args:
            where: those that meet a filter.
            paths: these files, and all below these folders.
            rows: those with these numbers. Of several conditions, all must hold.

        Raises:
            ValueError: no condition at all.
            BlockingIOError: another process is writing.
        """
        with self.storage.writing():
            self.refresh()
            positions = self._chosen(where, paths, rows)
            if len(positions):
                entries, garbage = with_removed(self.storage, self.snapshot, positions)
                old = self.snapshot.manifest
                self._commit(replace(old, version=old.version + 1, segments=tuple(entries), garbage=tuple(garbage)))
        return len(positions)

    def chosen(
        self,
        where: Filter | Mapping[str, Any] | None = None,
        paths: Iterable[str | Path] | str | Path | None = None,
        rows: Iterable[int] | None = None,
    ) -> list[Hit]:
        """What :meth:`remove` would take out."""
        return [self.hit(int(position)) for position in self._chosen(where, paths, rows)]

    def _chosen(self, where: Any, paths: Any, rows: Iterable[int] | None) -> np.ndarray:
        condition = Filter.of(where)
        if condition.is_empty and paths is None and rows is None:
            raise ValueError("remove needs a filter, paths or rows; to remove all, delete the gallery's folder")
        mask = self.snapshot.mask(condition)
        if rows is not None:
            mask &= np.isin(self.snapshot.columns.row, list(rows))
        if paths is not None:
            mask &= self._below([paths] if isinstance(paths, str | Path) else list(paths))
        return np.flatnonzero(mask)

    def compact(self) -> None:
        """Put a gallery in order: small segments become large ones, the places of removed rows go, and so does what
        interrupted calls have left.

        Raises:
            BlockingIOError: another process is writing.
        """
        with self.storage.writing():
            self.refresh()
            self._compact()
            self.storage.delete(self.storage.stray_files(self.snapshot.manifest))

    def _commit(self, manifest: Manifest) -> None:
        """Make a version the one that counts, and tidy up behind it; the writer's lock is held."""
        old = self.snapshot.manifest
        self.storage.write_manifest(manifest)
        self.storage.delete([*old.garbage, *manifest.garbage])
        self.storage.delete(self.storage.half_written())
        self.snapshot = Snapshot.open(self.storage)
        small = sum(entry.rows < SEGMENT // 2 for entry in manifest.segments)
        removed = sum(entry.num_removed for entry in manifest.segments)
        if small > MANY_SMALL or removed > MUCH_REMOVED * max(1, len(self.snapshot)):
            self._compact()

    def _compact(self) -> None:
        old = self.snapshot.manifest
        entries: list[SegmentEntry] = []
        garbage: list[str] = []
        pending: list[tuple[Columns, np.ndarray]] = []
        version = old.version + 1

        def write(everything: bool) -> None:
            while (waiting := sum(len(columns) for columns, _ in pending)) >= (1 if everything else SEGMENT):
                columns = Columns.concatenate([part for part, _ in pending])
                features = np.concatenate([part for _, part in pending])
                num = min(waiting, SEGMENT)
                name = f"{version:08d}-{uuid.uuid4().hex[:8]}-{num}"
                entries.append(self.storage.write_segment(name, columns.take(np.arange(num)), features[:num]))
                pending[:] = [(columns.take(np.arange(num, waiting)), features[num:])] if waiting > num else []

        for entry, segment in zip(old.segments, self.snapshot.segments, strict=True):
            if entry.rows >= SEGMENT // 2 and not entry.num_removed:
                entries.append(entry)
                continue
            kept = np.flatnonzero(~segment.removed)
            pending.append((segment.columns.take(kept), segment.read(kept)))
            garbage += files_of(entry)
            write(everything=False)
        write(everything=True)
        if garbage:
            self.storage.write_manifest(replace(old, version=version, segments=tuple(entries), garbage=tuple(garbage)))
            self.storage.delete([*old.garbage, *garbage])
            self.snapshot = Snapshot.open(self.storage)

    def _below(self, paths: Sequence[str | Path]) -> np.ndarray:
        """(N,) bool: rows whose file is one of these, or lies in one of these folders."""
        wanted = {os.fsencode(os.path.abspath(path)) for path in paths}
        folders = tuple(path + os.fsencode(os.sep) for path in wanted)
        return np.array(
            [path in wanted or path.startswith(folders) for path in self.snapshot.columns.path.all_raw()], dtype=bool
        )

    # -------------------------------------------------------------------------------------------------- asking

    def search(
        self,
        images: Any = None,
        modality: str | None = None,
        *,
        features: np.ndarray | None = None,
        top: int = 10,
        where: Filter | Mapping[str, Any] | None = None,
        engine: str | Engine = "exact",
    ) -> list[list[Hit]]:
        """The nearest images of each query, nearest first; equal scores by path.

        Args:
            images: an image (file, Pillow image, pixels), several, or a folder; or (N, dim) features.
            modality: 'visible' or 'infrared', of the queries. Needed for images; features without it get no verdict.
            features: (N, dim) or (dim,) unit features, in place of images.
            top: so many each, fewer where the filter leaves fewer.
            where: a filter, or a dict of one (:class:`Filter`).
            engine: 'exact', 'faiss', 'milvus', ... (:mod:`mscmreid.retrieval.engines`), or one that was made.

        Raises:
            ValueError: no modality with images, features of another width, ``top`` under 1, an unknown engine.
            UnreadableImageError: an image that cannot be read.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, found {top}")
        queries = self.query_features(images, modality) if features is None else self._checked_features(features)
        if modality is not None:
            modality_index(modality)
        finder = self.engine(engine) if isinstance(engine, str) else engine
        positions, scores = finder.find(self.snapshot, queries, top, Filter.of(where))
        return [
            [
                self.hit(int(place), float(score), modality)
                for place, score in zip(places, values, strict=True)
                if place >= 0
            ]
            for places, values in zip(positions, scores, strict=True)
        ]

    def engine(self, name: str) -> Engine:
        """The engine of a name; its index is kept open."""
        if name not in self.engines:
            self.engines[name] = make_engine(name, self.path)
        return self.engines[name]

    def query_features(self, images: Any, modality: str | None) -> np.ndarray:
        """(N, dim) float32 features of images (see :meth:`search`)."""
        if isinstance(images, np.ndarray) and images.dtype.kind == "f":
            return self._checked_features(images)
        if images is None:
            raise ValueError("a search needs images or features")
        if modality is None:
            raise ValueError(f"say the queries' modality: one of {', '.join(MODALITIES)}")
        modality_index(modality)
        encoder = self._need_encoder("ask with images")
        items = query_images(images)
        return checked_rows(encoder.encode(items, modality), len(items), self.dim).astype(np.float32)

    def hit(self, position: int, score: float = float("nan"), modality: str | None = None) -> Hit:
        """What is known of the row at a position of the snapshot, with its score for a query of a modality."""
        columns = self.snapshot.columns
        seen = MODALITIES[columns.modality[position]]
        means = self.score_model(modality, seen) if modality is not None and score == score else None
        return Hit(
            columns.path[position],
            score,
            columns.camera[position],
            time_text(float(columns.time[position])),
            seen,
            columns.id[position],
            int(columns.row[position]),
            "" if means is None else means.verdict(score),
            None if means is None else means.probability(score),
        )

    def score_model(self, first: str, second: str) -> ScoreModel | None:
        """What a score between images of two modalities means; None if no calibration says it."""
        return None if self.calibration is None else self.calibration.kinds.get(kind_of(first, second))

    def set_calibration(self, calibration: Calibration) -> None:
        """Keep a calibration with the gallery.

        Raises:
            ValueError: it was made with another encoder.
        """
        if wrong := differences(self.identity, calibration.identity):
            raise ValueError(f"the calibration is of another encoder's scores: {wrong}")
        calibration.save(self.path)
        self.calibration = calibration

    def trust(self, modality: str, gallery_modality: str | None = None) -> str:
        """How far scores of queries of a modality may be trusted, in a sentence or two.

        Args:
            modality: of the queries.
            gallery_modality: of the images that are looked at; None: whatever there are.
        """
        there = self.info_of_modalities()
        parts = []
        for other in [gallery_modality] if gallery_modality else sorted(there):
            means = self.score_model(modality, other)
            if means is None:
                parts.append(f"{modality} queries in {other} images: {NOT_CALIBRATED}")
                continue
            expected = means.false_matches.value * there.get(other, 0)
            parts.append(
                f"{modality} queries in {other} images: from {means.threshold:.4f} on '{means.verdict(1.0)}', reached "
                f"by {100 * means.true_matches.value:.1f} % of pairs of one person and by "
                f"{100 * means.false_matches.value:.3g} % of pairs of two (95 %: "
                f"{100 * means.false_matches.low:.3g} to {100 * means.false_matches.high:.3g} %), so among "
                f"{there.get(other, 0):,} images of strangers by {expected:.1f}"
            )
        return "\n".join(parts)

    def info_of_modalities(self) -> dict[str, int]:
        """How many images there are of each modality."""
        counts = np.bincount(self.snapshot.columns.modality[self.snapshot.alive], minlength=len(MODALITIES))
        return {name: int(count) for name, count in zip(MODALITIES, counts, strict=True) if count}

    @property
    def intake(self) -> Intake:
        """How its images are read."""
        return Intake.of(self.identity.get("intake"))

    def hits(self, where: Filter | Mapping[str, Any] | None = None) -> list[Hit]:
        """All rows that meet a filter, without scores, in the order in which they were added."""
        return [self.hit(int(position)) for position in np.flatnonzero(self.snapshot.mask(Filter.of(where)))]

    def check_filter(self, where: Filter | Mapping[str, Any] | None = None) -> None:
        """For people who type a filter: raise a ValueError if it names a camera or an id that no image has, or if no
        image meets it."""
        where, columns, alive = Filter.of(where), self.snapshot.columns, self.snapshot.alive
        for what, asked, labels in (
            ("camera", (*where.camera, *where.exclude_camera), columns.camera),
            ("id", where.id, columns.id),
        ):
            there = labels.counts(alive)
            unknown = [name for name in asked if name not in there]
            if unknown:
                raise ValueError(
                    f"no image in {self.path} has the {what} {shortened(unknown, between=', ')}"
                    f"{did_you_mean(unknown[0], there)}; there are {shortened(list(there), between=', ') or 'none'}"
                )
        if not len(self):
            raise ValueError(f"{self.path} is empty: add images first")
        if not self.snapshot.mask(where).any():
            about = self.info()
            kinds = ", ".join(f"{name}: {count:,}" for name, count in about["modalities"].items())
            times = "no times" if about["since"] is None else f"times from {about['since']} to {about['until']}"
            raise ValueError(f"no image in {self.path} meets all conditions together; there are {kinds}, with {times}")

    def features(self, rows: Sequence[int]) -> np.ndarray:
        """(n, dim) float32 features of rows by their numbers, to ask with.

        Raises:
            ValueError: no such row.
        """
        positions = [self.snapshot.position_of_row(row) for row in rows]
        return self.snapshot.features(np.array(positions, dtype=np.int64)).astype(np.float32)

    def info(self) -> dict[str, Any]:
        """What the gallery is, as JSON values."""
        manifest, columns = self.snapshot.manifest, self.snapshot.columns
        alive = self.snapshot.alive
        times = columns.time[alive & np.isfinite(columns.time)]
        unfinished = self.storage.unnamed_segments(manifest)
        return dict(
            path=str(self.path),
            version=manifest.version,
            images=manifest.num_rows,
            modalities=self.info_of_modalities(),
            cameras=columns.camera.counts(alive),
            people=len(columns.id.counts(alive)),
            since=time_text(float(times.min())) if len(times) else None,
            until=time_text(float(times.max())) if len(times) else None,
            folders=list(manifest.folders),
            dim=manifest.dim,
            dtype=manifest.dtype,
            segments=len(manifest.segments),
            places_of_removed=len(self.snapshot) - manifest.num_rows,
            unfinished=sum(len(segment) for segment in unfinished),
            calibration=NOT_CALIBRATED
            if self.calibration is None
            else {
                kind: f"threshold {means.threshold:.4f} for {means.wished:g} false matches"
                for kind, means in self.calibration.kinds.items()
            },
            calibrated_from="" if self.calibration is None else self.calibration.source,
            bytes=sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
            identity=manifest.identity,
        )

    def verify(self) -> None:
        """Read every file of the gallery and compare it with its checksum.

        Raises:
            DamagedGalleryError: one is not what was written.
        """
        for segment in self.snapshot.segments:
            segment.read(slice(0, len(segment)))

    # -------------------------------------------------------------------------------------------------- encoders

    def _need_encoder(self, what: str) -> Encoder:
        if self.encoder is None:
            raise ValueError(f"to {what}, open the gallery with its encoder: Gallery.open(path, model)")
        return self.encoder

    def _check_encoder(self, encoder: Encoder) -> None:
        wrong = differences(self.identity, dict(encoder.identity))
        if wrong or encoder.dim != self.dim:
            raise ValueError(
                f"the gallery {self.path} was made by another encoder, its features cannot be compared; gallery and "
                f"encoder differ in {wrong or f'width: {self.dim} and {encoder.dim}'}. Use the same config, checkpoint "
                "and options, or make a new gallery"
            )

    def _checked_features(self, features: np.ndarray) -> np.ndarray:
        rows = np.atleast_2d(np.asarray(features, dtype=np.float32))
        return checked_rows(rows, len(rows), self.dim)


def require_new(path: str | Path) -> Path:
    """The folder of a gallery that is to be made; a ValueError if there is something in it."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"a new gallery needs a new or an empty folder, found {str(folder)!r} with content")
    return folder


def query_images(images: Any) -> list[Image]:
    """The images of a question, one entry each; a folder is all images in it."""
    if isinstance(images, str | Path):
        return [file.path for file in image_files(images)]
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    return list(images) if isinstance(images, Sequence) else [images]
