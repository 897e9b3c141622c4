"""Start the page's server."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from mscmreid.interruption import kept_when_interrupted
from mscmreid.retrieval.gallery import Gallery
from mscmreid.serving.guard import is_loopback

EXTRA = "the page needs FastAPI and uvicorn: pip install 'mscmreid[serve]'"
MARKS = "marks.csv"


def serve(
    gallery: Gallery,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    marks: str | Path | None = None,
    engine: str = "exact",
    megabytes: float = 20,
    megapixels: float = 50,
) -> None:
    """Serve a gallery's page until Ctrl-C.

    Args:
        gallery: opened with its encoder.
        host: where to listen. An address that others reach gets a token, which is part of the address that is printed.
            Requests must name this host, this machine's own name or a numeric address.
        port: 0 takes a free one.
        marks: CSV of what people mark; None: ``marks.csv`` in the gallery's folder.
        engine: of searches.
        megabytes, megapixels: most of an uploaded image.

    Raises:
        ImportError: the extra ``serve`` is not installed.
        OSError: the address is taken.
        ValueError: a marks file of other columns, a limit that is none.
    """
    try:
        import uvicorn

        from mscmreid.serving.app import Limits, make_app
    except ImportError as error:
        raise ImportError(f"{EXTRA} ({error})") from error
    from mscmreid.serving.marks import Marks

    if megabytes <= 0 or megapixels <= 0:
        raise ValueError(f"limits must be above 0, found {megabytes} MB and {megapixels} megapixels")
    loopback = is_loopback(host)
    token = None if loopback else secrets.token_urlsafe(16)
    app = make_app(
        gallery,
        Marks(marks or gallery.path / MARKS),
        hosts=("127.0.0.1", "localhost", "[::1]", host, *(() if loopback else names_of_this_machine())),
        token=token,
        limits=Limits(megabytes, megapixels),
        engine=engine,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError as error:
        raise OSError(f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port") from error
    name = f"[{host.strip('[]')}]" if ":" in host else host
    if not loopback and host in ("0.0.0.0", "::"):
        name = socket.gethostname()
    address = f"http://{name}:{listening.getsockname()[1]}/" + (f"?token={token}" if token else "")
    print(f"{len(gallery):,} images: {address}   (Ctrl-C ends it)", flush=True)
    if not loopback:
        print("others can reach this page: give the address only to whom you trust; it is not encrypted", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_keep_alive=15)
    with kept_when_interrupted(lambda: "the page is closed, the gallery and the marks are on disk"):
        uvicorn.Server(config).run(sockets=[listening])


def names_of_this_machine() -> tuple[str, str]:
    """Its host name, and that name in the local network (multicast DNS)."""
    name = socket.gethostname()
    return name, f"{name.partition('.')[0]}.local"
