"""The page's server: search, browse, pictures of rows, marks, a map. It writes nothing but marks."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from PIL import Image
from starlette.concurrency import run_in_threadpool

from mscmreid.evaluation.embedding import embed
from mscmreid.intake import Intake, decode
from mscmreid.modalities import MODALITIES
from mscmreid.retrieval.answers import verdict
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.gallery import Gallery, Hit
from mscmreid.serving.guard import Guard
from mscmreid.serving.marks import Marks

STATIC = Path(__file__).parent / "static"
FILES = {"page.css": "text/css", "page.js": "text/javascript", "map.js": "text/javascript", "icon.svg": "image/svg+xml"}
SIZES = {"small": 256, "large": 768}
MOST_POINTS, MOST_RESULTS, MOST_ROW = 5000, 200, 2**63 - 1

Modality = Literal["visible", "infrared"]
Word = Annotated[str, Query(max_length=200)]
Row = Annotated[int, Query(ge=0, le=MOST_ROW)]


@dataclass(frozen=True)
class Limits:
    """Of uploads.

    Attributes:
        megabytes: of a file.
        megapixels: of an image, looked at before it is decoded.
    """

    megabytes: float = 20
    megapixels: float = 50


class Searcher:
    """A gallery for several threads: one search at a time, always on its newest version."""

    def __init__(self, gallery: Gallery, engine: str = "exact") -> None:
        self.gallery, self.engine = gallery, engine
        self.lock = threading.Lock()
        self._maps: dict[tuple[int, str], dict[str, Any]] = {}
        self._info: tuple[int, dict[str, Any]] | None = None

    def info(self) -> dict[str, Any]:
        """Of the gallery, kept until it changes."""
        with self.lock:
            self.gallery.refresh()
            version = self.gallery.snapshot.manifest.version
            if self._info is None or self._info[0] != version:
                self._info = version, self.gallery.info()
            return self._info[1]

    def search(
        self, image: Image.Image | None, row: int | None, modality: str | None, top: int, where: Filter
    ) -> tuple:
        """(what is known of the query, or None; hits) of an image or a row."""
        with self.lock:
            self.gallery.refresh()
            if row is None:
                return None, self.gallery.search([image], modality, top=top, where=where, engine=self.engine)[0]
            hit = self.hit(row)
            where = replace(where, exclude_row=(*where.exclude_row, row))
            features = self.gallery.features([row])
            found = self.gallery.search(
                features=features, modality=modality or hit.modality, top=top, where=where, engine=self.engine
            )
            return hit, found[0]

    def hit(self, row: int) -> Hit:
        """What is known of a row; a missing one is a 404."""
        try:
            return self.gallery.hit(self.gallery.snapshot.position_of_row(row))
        except ValueError as error:
            raise HTTPException(404, str(error)) from error

    def browse(self, start: int, number: int, where: Filter) -> tuple[int, list[Hit]]:
        """(how many rows meet the filter, some of them in the order of the gallery)."""
        with self.lock:
            self.gallery.refresh()
            positions = np.flatnonzero(self.gallery.snapshot.mask(where))
            return len(positions), [self.gallery.hit(int(p)) for p in positions[start : start + number]]

    def map(self, how: str) -> dict[str, Any]:
        """The gallery in two dimensions, at most :data:`MOST_POINTS` rows, evenly from all."""
        with self.lock:
            self.gallery.refresh()
            snapshot = self.gallery.snapshot
            key = snapshot.manifest.version, how
            if key not in self._maps:
                alive = np.flatnonzero(snapshot.alive)
                chosen = alive[np.linspace(0, len(alive) - 1, min(len(alive), MOST_POINTS)).astype(np.int64)]
                plane = embed(snapshot.features(chosen).astype(np.float32), how)
                points = plane.points - plane.points.min(axis=0)
                points /= max(float(points.max()), 1e-12)
                columns = snapshot.columns
                self._maps.clear()
                self._maps[key] = dict(
                    told=plane.told,
                    of=len(alive),
                    points=np.round(points, 4).tolist(),
                    row=columns.row[chosen].tolist(),
                    modality=[MODALITIES[m] for m in columns.modality[chosen]],
                    camera=[columns.camera[p] for p in chosen],
                    id=[columns.id[p] for p in chosen],
                )
            return self._maps[key]


def shown_name(path: str, folders: Sequence[str]) -> str:
    """A file's name for people: below the gallery's folders, as Unicode, without what text cannot show."""
    inside = [folder for folder in folders if path.startswith(folder + os.sep)]
    name = os.path.relpath(path, max(inside, key=len)) if inside else os.path.basename(path)
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def filter_of(
    of: Modality | None = None,
    camera: Annotated[list[Word], Query(max_length=1000)] = [],  # noqa: B006  (FastAPI reads it)
    exclude_camera: Annotated[list[Word], Query(max_length=1000)] = [],  # noqa: B006
    since: Word | None = None,
    until: Word | None = None,
) -> Filter:
    """The filter that a request's parameters say."""
    return Filter(camera, exclude_camera, since or None, until or None, of)


Where = Annotated[Filter, Depends(filter_of)]


def make_app(
    gallery: Gallery,
    marks: Marks,
    *,
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]"),
    token: str | None = None,
    limits: Limits | None = None,
    engine: str = "exact",
) -> Any:
    """The ASGI application.

    Args:
        gallery: opened with its encoder.
        marks: where marks go.
        hosts, token: see :class:`mscmreid.serving.guard.Guard`.
        limits: of uploads.
        engine: of searches.
    """
    limits = limits or Limits()
    max_bytes = int(limits.megabytes * 1e6)
    own = Intake.of(gallery.identity.get("intake"))
    intake = replace(own, max_pixels=min(own.max_pixels, int(limits.megapixels * 1e6)))
    searcher = Searcher(gallery, engine)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(ValueError)
    async def _mistake(_: Request, error: ValueError) -> JSONResponse:
        return JSONResponse({"error": _line(error)}, 400)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        wrong = error.errors()[0]
        return JSONResponse({"error": _line(f"{wrong['loc'][-1]}: {wrong['msg']}")}, 422)

    @app.exception_handler(HTTPException)
    async def _refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": _line(error.detail)}, error.status_code)

    def card(hit: Hit, marked: dict[int, str]) -> dict[str, Any]:
        return dict(
            row=hit.row,
            name=shown_name(hit.path, searcher.gallery.snapshot.manifest.folders),
            score=None if np.isnan(hit.score) else round(hit.score, 6),
            camera=hit.camera,
            time=hit.time,
            modality=hit.modality,
            id=hit.id,
            verdict=hit.verdict,
            probability=hit.probability,
            mark=marked.get(hit.row),
        )

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/responsible-use")
    def responsible_use() -> FileResponse:
        return FileResponse(STATIC / "responsible_use.html", headers={"cache-control": "no-cache"})

    @app.get("/static/{name}")
    def static(name: str) -> FileResponse:
        if name not in FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(STATIC / name, media_type=FILES[name], headers={"cache-control": "no-cache"})

    @app.get("/api/info")
    def info() -> dict[str, Any]:
        found = searcher.info()
        return dict(
            name=gallery.path.name,
            images=found["images"],
            people=found["people"],
            cameras=found["cameras"],
            modalities=found["modalities"],
            since=found["since"],
            until=found["until"],
            marks=str(marks.path.name),
            limits=dict(megabytes=limits.megabytes, megapixels=limits.megapixels, top=MOST_RESULTS),
        )

    @app.get("/api/rows")
    def rows(where: Where, start: Row = 0, number: Annotated[int, Query(ge=1, le=MOST_RESULTS)] = 48) -> dict[str, Any]:
        total, hits = searcher.browse(start, number, where)
        return dict(total=total, hits=[card(hit, {}) for hit in hits])

    @app.post("/api/search")
    async def search(
        request: Request,
        where: Where,
        row: Row | None = None,
        modality: Modality | None = None,
        top: Annotated[int, Query(ge=1, le=MOST_RESULTS)] = 24,
    ) -> dict[str, Any]:
        body = await read_body(request, max_bytes)
        return await run_in_threadpool(answer, body, where, row, modality, top)

    def answer(body: bytes, where: Filter, row: int | None, modality: str | None, top: int) -> dict[str, Any]:
        if (row is None) == (not body):
            raise HTTPException(400, "a search needs an image as its body, or a row: one of the two")
        image = None
        if row is None:
            if modality is None:
                raise HTTPException(400, f"say the modality of the image: {' or '.join(MODALITIES)}")
            image = decode(body, intake)
        query, hits = searcher.search(image, row, modality, top, where)
        key = f"row:{row}" if query else f"sha256:{hashlib.sha256(body).hexdigest()}"
        marked = marks.of(key)
        return dict(
            query=dict(key=key, **({"card": card(query, {})} if query else {})),
            verdict=verdict(hits),
            trust=searcher.gallery.trust(modality or query.modality, where.modality),
            hits=[card(hit, marked) for hit in hits],
        )

    @app.get("/api/map")
    def plane(how: Literal["pca", "umap"] = "pca") -> dict[str, Any]:
        try:
            return searcher.map(how)
        except ImportError as error:
            raise HTTPException(400, str(error)) from error

    @app.get("/image/{row}")
    def image(row: Annotated[int, InPath(ge=0, le=MOST_ROW)], size: Literal["small", "large"] = "small") -> Response:
        found = decode(searcher.hit(row).path, own)
        found.thumbnail((SIZES[size], SIZES[size]))
        buffer = io.BytesIO()
        found.save(buffer, "JPEG", quality=88)
        return Response(buffer.getvalue(), media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    @app.post("/api/mark")
    async def mark(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(keep_mark, await read_body(request, 1 << 16))

    def keep_mark(body: bytes) -> dict[str, Any]:
        said = read_mark(body)
        hit = searcher.hit(said["row"])
        if said["query"].startswith("row:"):
            said["name"] = searcher.hit(int(said["query"][4:])).path
        marks.add(said["query"], said["name"], hit.row, hit.path, said["score"], said["mark"])
        return dict(row=hit.row, mark=said["mark"])

    return Guard(app, hosts, token, max_bytes)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """A request's body, read as far as it may go."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HTTPException(413, f"at most {max_bytes / 1e6:g} MB are taken", {"connection": "close"})
    return bytes(body)


def read_mark(body: bytes) -> dict[str, Any]:
    """``dict(query, name, row, score, mark)`` of a request to mark a result.

    Raises:
        ValueError: it is not like that.
    """
    expected = "a mark is JSON: query (row:N or sha256:...), name, row, score, mark"
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{expected}; this is no JSON") from error
    if not isinstance(said, dict) or set(said) != {"query", "name", "row", "score", "mark"}:
        raise ValueError(expected)
    query, name, row, score = said["query"], said["name"], said["row"], said["score"]
    if not isinstance(query, str) or not isinstance(name, str) or len(name) > 300 or not isinstance(said["mark"], str):
        raise ValueError(expected)
    kind, _, value = query.partition(":")
    by_row = kind == "row" and value.isascii() and value.isdigit() and len(value) < 19
    by_hash = kind == "sha256" and len(value) == 64 and set(value) <= set("0123456789abcdef")
    if not by_row and not by_hash:
        raise ValueError(f"{expected}; found another query")
    if type(row) is not int or not 0 <= row <= MOST_ROW:
        raise ValueError(f"{expected}; a row is a whole number")
    if score is not None and (type(score) not in (int, float) or not -2 <= score <= 2):
        raise ValueError(f"{expected}; a score is a cosine or null")
    return said


def _line(error: object) -> str:
    """A message as one line that JSON can hold."""
    return " ".join(str(error).encode("utf-8", "replace").decode().split())
