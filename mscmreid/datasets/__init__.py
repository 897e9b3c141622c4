"""Data sets, the cache of decoded images, and the order in which training sees them."""

from mscmreid.datasets.base import ReIDDataset
from mscmreid.datasets.concat import ConcatReIDDataset
from mscmreid.datasets.corrupted import LoadCorruptedImage, corrupted_rows
from mscmreid.datasets.llcm import LLCM
from mscmreid.datasets.loading import LoadImage, load_image, reid_collate
from mscmreid.datasets.own import FolderReID, PlainFolder, list_images
from mscmreid.datasets.regdb import RegDB
from mscmreid.datasets.samplers import CrossModalityBatchSampler, ReIDBatchSampler, epoch_random
from mscmreid.datasets.statistics import statistics_table
from mscmreid.datasets.sysu import SYSUMM01

__all__ = [
    "LLCM",
    "SYSUMM01",
    "ConcatReIDDataset",
    "CrossModalityBatchSampler",
    "FolderReID",
    "LoadCorruptedImage",
    "LoadImage",
    "PlainFolder",
    "ReIDBatchSampler",
    "ReIDDataset",
    "RegDB",
    "corrupted_rows",
    "epoch_random",
    "list_images",
    "load_image",
    "reid_collate",
    "statistics_table",
]
