"""How users' images come in: galleries, folders, lists, own data. Needs numpy and Pillow only."""

from mscmreid.intake.files import (
    IMAGE_SUFFIXES,
    check_images,
    find_images,
    list_reasons,
    unreadable_images,
    write_skipped,
)
from mscmreid.intake.images import PUBLISHED, Intake, UnreadableImageError, decode, open_image

__all__ = [
    "IMAGE_SUFFIXES",
    "PUBLISHED",
    "Intake",
    "UnreadableImageError",
    "check_images",
    "decode",
    "find_images",
    "list_reasons",
    "open_image",
    "unreadable_images",
    "write_skipped",
]
