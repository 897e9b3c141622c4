"""A query, its nearest gallery images, and where the network looks in each of them, as rows of a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mscmreid.datasets.loading import load_image, make_sample
from mscmreid.explain.attention import attention_maps
from mscmreid.explain.gradcam import similarity_maps
from mscmreid.intake import PUBLISHED, Intake
from mscmreid.retrieval.extract import resize_of_test_data
from mscmreid.visualization.heat import overlay
from mscmreid.visualization.rankings import RankedImage, Ranking, open_image

NAMES = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM"}


def explain_ranking(
    model: nn.Module,
    ranking: Ranking,
    query_modality: str,
    gallery_modality: str | Sequence[str],
    feature: str = "feat_bn",
    position: tuple[float, float] | None = None,
    method: str = "gradcam",
    intake: Intake = PUBLISHED,
) -> tuple[list[Ranking], list[float]]:
    """The ranking itself, Grad-CAM of every similarity on both sides, and what attention there is in the network.

    Args:
        model: of :func:`mscmreid.apis.init_model`.
        ranking: a query and its nearest images.
        query_modality, gallery_modality: 'visible' or 'infrared'; the gallery's may be one of each image.
        feature: whose cosine is explained.
        position: see :func:`mscmreid.explain.attention.attention_maps`.
        method: see :func:`mscmreid.explain.gradcam.similarity_maps`.
        intake: how the images are read.

    Returns:
        Rows for :func:`mscmreid.visualization.rankings.draw_rankings`, and the similarities as the model finds them.
    """
    gallery = list(ranking.gallery)
    kinds = [gallery_modality] * len(gallery) if isinstance(gallery_modality, str) else list(gallery_modality)
    query = normalised(model, [ranking.query], [query_modality], intake)
    images = normalised(model, gallery, kinds, intake)
    on_query, on_gallery, similarity = [], [], []
    for image, kind in zip(images, kinds, strict=True):
        maps = similarity_maps(model, query, query_modality, image[None], kind, feature, method)
        on_query.append(maps.first[0])
        on_gallery.append(maps.second[0])
        similarity.append(float(maps.similarity[0]))
    plain, kind_of_map = replace(ranking, label="image"), NAMES[method]
    mean = torch.stack(on_query).mean(0)
    rows = [
        plain,
        Ranking(
            _heated(ranking.query, mean / mean.max().clamp(min=1e-12), "mean over these", intake),
            [_heated(image, heat, "", intake) for image, heat in zip(gallery, on_gallery, strict=True)],
            f"{kind_of_map},\ngallery image:\nwhat makes it\nlike the query",
        ),
        Ranking(
            replace(ranking.query, caption=""),
            [
                replace(_heated(ranking.query, heat, f"against no. {number}", intake), is_match=image.is_match)
                for number, (image, heat) in enumerate(zip(gallery, on_query, strict=True), start=1)
            ],
            f"{kind_of_map},\nquery:\nwhat makes it\nlike that image",
        ),
    ]
    of_query = attention_maps(model, query, query_modality, position)
    of_gallery = [attention_maps(model, x[None], kind, position) for x, kind in zip(images, kinds, strict=True)]
    for name, heat in of_query.items():
        tiles = [_heated(image, maps[name][0], "", intake) for image, maps in zip(gallery, of_gallery, strict=True)]
        rows.append(Ranking(_heated(ranking.query, heat[0], "", intake), tiles, name.replace(" ", "\n", 1)))
    return rows, similarity


def normalised(
    model: nn.Module, images: Sequence[RankedImage], modalities: Sequence[str], intake: Intake = PUBLISHED
) -> Tensor:
    """(N, 3, H, W) of image files, as the model's test data are made of them."""
    net: Any = model
    size, resize = tuple(net.image_size), resize_of_test_data(model)
    pixels = [load_image(os.fspath(image.path), size, resize, intake=intake) for image in images]
    samples = [
        make_sample(dict(img_path=os.fspath(image.path), modality=kind))
        for image, kind in zip(images, modalities, strict=True)
    ]
    data = net.data_preprocessor(dict(inputs=[torch.from_numpy(p) for p in pixels], data_samples=samples), False)
    found = torch.cat(list(data["inputs"].values()))
    return torch.empty_like(found).index_copy_(0, data["rows"].image, found)


def _heated(image: RankedImage, heat: Tensor, caption: str, intake: Intake) -> RankedImage:
    picture = overlay(open_image(image.path, intake), heat.float().cpu().numpy())
    return replace(image, picture=picture, caption=caption if heat.any() else f"{caption} no place".strip())
