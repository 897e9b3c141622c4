"""Which images a user means: files, lists, folders; and which of them cannot be read, all of them at once."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mscmreid.cores import available_cores
from mscmreid.fileio import written_atomically
from mscmreid.intake.images import ADVICE, Intake, UnreadableImageError, decode
from mscmreid.near_names import SHOWN, shortened

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""What counts as an image, whatever the case."""
OTHER_SUFFIXES = (".heic", ".heif", ".avif", ".gif", ".jp2", ".dng", ".pgm", ".ppm", ".exr")
"""Images as well, but of kinds that are not read: nobody should wonder where they are."""
LISTS = (".txt", ".csv")

log = logging.getLogger(__name__)


def find_images(sources: str | Path | Iterable[str | Path], skipped: dict[str, str] | None = None) -> list[Path]:
    """The images that a user means, each once, in the order of the sources; those of a folder by their paths.

    Args:
        sources: an image, a list file, a folder, or several of them. A ``.txt`` names an image a line, a ``.csv`` has a
            column ``path``; both are relative to the list's own folder. A folder is searched with all below it, hidden
            files and folders left out; links to folders are followed, into each folder once, so loops end.
        skipped: gets path -> reason of what cannot be had: folders that cannot be read, missing files of a list,
            images of kinds that are not read. None: those are an error.

    Returns:
        Paths as the sources spell them. A name that ends like an image and cannot be opened is among them:
        :func:`check_images` says why.

    Raises:
        FileNotFoundError: a source that does not exist, or one without any image.
        ValueError: a list that cannot be read (line named).
        UnreadableImageError: see ``skipped``; all of them are named.
    """
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    problems: dict[str, str] = {}
    found: dict[Path, None] = {}
    for source in map(Path, given):
        before = len(found) + len(problems)
        found.update(dict.fromkeys(_images_of(source, problems)))
        if len(given) == 1 and len(found) + len(problems) == before:
            raise FileNotFoundError(f"no image in {str(source)!r} or below; images end in {', '.join(IMAGE_SUFFIXES)}")
    if problems and skipped is None:
        raise unreadable_images(problems)
    if not found:
        raise FileNotFoundError(f"no image in {', '.join(map(str, given)) or 'no source'}")
    if skipped is not None:
        skipped.update(problems)
    return list(found)


def check_images(paths: Iterable[str | Path], intake: Intake | None = None) -> dict[str, str]:
    """Path -> reason of those that cannot be decoded; decodes every one, on all cores."""

    def reason(path: str | Path) -> str | None:
        try:
            decode(path, intake or Intake())
        except UnreadableImageError as error:
            return str(error)
        return None

    names = list(paths)
    with ThreadPoolExecutor(available_cores()) as executor:
        reasons = executor.map(reason, names)
        return {str(path): why for path, why in zip(names, reasons, strict=True) if why is not None}


def unreadable_images(unreadable: Mapping[str, str]) -> UnreadableImageError:
    """The error that tells of all of them (the message of the first twenty) and how to go on without them."""
    count = "1 image or folder" if len(unreadable) == 1 else f"{len(unreadable)} images or folders"
    return UnreadableImageError(
        f"{count} cannot be read: {list_reasons(unreadable)}. Mend them, or leave them out with --skip-unreadable "
        "(on_error='skip'), which lists them in skipped.csv",
        unreadable,
    )


def list_reasons(unreadable: Mapping[str, str], most: int | None = SHOWN) -> str:
    """The reasons of the first ``most`` (None: of all), and how many more there are."""
    reasons = [(why if path in why else f"{path}: {why}").removesuffix(ADVICE) for path, why in unreadable.items()]
    return shortened(reasons, len(reasons) if most is None else most)


def write_skipped(skipped: Mapping[str, str], path: str | Path) -> None:
    """A CSV with the columns path, reason."""
    with written_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "reason"), *skipped.items()])


def _images_of(source: Path, problems: dict[str, str]) -> Iterator[Path]:
    suffix = source.suffix.lower()
    if source.is_dir():
        yield from _images_below(source, problems)
    elif suffix in IMAGE_SUFFIXES and os.path.lexists(source):
        yield source
    elif suffix in LISTS and source.is_file():
        for number, name in _listed(source):
            path = source.parent / name
            if path.is_file():
                yield path
            else:
                what = "a folder" if path.is_dir() else "missing"
                problems[str(path)] = f"{source}, line {number}: {path} is {what}"
    elif not source.exists():
        raise FileNotFoundError(f"no {str(source)!r}: expected an image, a list (.txt, .csv) or a folder of images")
    else:
        raise ValueError(f"{str(source)!r} is neither an image ({', '.join(IMAGE_SUFFIXES)}) nor a list (.txt, .csv)")


def _images_below(folder: Path, problems: dict[str, str]) -> list[Path]:
    """Sorted by their paths below ``folder``, as text."""
    found: list[str] = []
    seen: dict[tuple[int, int], str] = {}

    def unreadable(error: OSError) -> None:
        problems[str(error.filename)] = f"the folder {error.filename!r} cannot be read ({error.strerror})"

    for where, folders, files in os.walk(folder, followlinks=True, onerror=unreadable):
        there = os.stat(where)
        first = seen.setdefault((there.st_dev, there.st_ino), where)
        if first != where:
            log.warning("%r leads to %r, which is searched already: its images are taken once", where, first)
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = os.path.join(where, name)
            if name.startswith("."):
                continue
            if name.lower().endswith(IMAGE_SUFFIXES):
                found.append(path)
            elif name.lower().endswith(OTHER_SUFFIXES):
                kind = os.path.splitext(name)[1].lower()
                problems[path] = f"{path}: images of kind {kind} are not read, convert it to JPEG or PNG"
    if problems.get(str(folder)):
        raise PermissionError(problems[str(folder)])
    return [Path(path) for path in sorted(found, key=lambda path: os.path.relpath(path, folder))]


def _listed(source: Path) -> list[tuple[int, str]]:
    """(line, path) of a list."""
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            if source.suffix.lower() == ".txt":
                lines = [(number, line.strip("\r\n")) for number, line in enumerate(file, start=1)]
            else:
                reader = csv.DictReader(file, strict=True)
                if "path" not in (reader.fieldnames or []):
                    raise ValueError(
                        f"{str(source)!r}, line 1: a list of images must have a column 'path', separated by commas; "
                        f"found {reader.fieldnames or 'nothing'}"
                    )
                lines = [(reader.line_num, record["path"] or "") for record in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(source)!r} is no list of images in UTF-8: {error}") from error
    named = [(number, name) for number, name in lines if name.strip()]
    if not named:
        raise ValueError(f"{str(source)!r} names no image")
    return named
