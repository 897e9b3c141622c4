"""How to make a gallery's encoder again, kept beside it as ``encoder.json``: so that images are added, and asked with,
without saying everything anew. It holds values only, no code, and names the checkpoint by its path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mscmreid.fileio import write_text
from mscmreid.intake import Intake
from mscmreid.retrieval.encoder import Encoder, ModelEncoder
from mscmreid.retrieval.exported import ExportedEncoder
from mscmreid.retrieval.storage import Storage

FILE = "encoder.json"


def save_recipe(gallery: Path, config: Any, checkpoint: str | Path, encoder: ModelEncoder) -> None:
    """Keep how a gallery's encoder was made.

    Args:
        gallery: its folder.
        config: the model's config (an mmengine ``Config``), options applied.
        checkpoint: its file.
        encoder: what came of it.
    """
    kept = {name: config.get(name) for name in ("model", "test_dataloader", "image_size", "default_scope")}
    content = dict(
        kind="model",
        config={name: value for name, value in kept.items() if value is not None},
        checkpoint=str(Path(checkpoint).absolute()),
        feature=encoder.feature,
        precision=encoder.precision,
        intake=encoder.identity["intake"],
    )
    write_text(json.dumps(content, indent=1, default=str), gallery / FILE)


def save_exported_recipe(gallery: Path, encoder: ExportedEncoder) -> None:
    """Keep where the exported file is that made a gallery's features."""
    content = dict(kind="exported", file=str(encoder.path.absolute()), intake=encoder.identity["intake"])
    write_text(json.dumps(content, indent=1), gallery / FILE)


def open_encoder(
    gallery: str | Path,
    *,
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    batch_size: int = 64,
    num_workers: int | None = None,
) -> Encoder:
    """The encoder of a gallery.

    Args:
        gallery: its folder.
        config, checkpoint: files in the place of those that were kept, for checkpoints (and exported files) that moved
            and for configs that import code of their own.
        device, batch_size, num_workers: where and how it runs.

    Raises:
        FileNotFoundError: there is no gallery, nothing was kept, or the checkpoint is gone.
        ValueError: what was kept cannot be read.
    """
    Storage(Path(gallery)).read_manifest()  # says so where there is no gallery at all
    path = Path(gallery) / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, so how its features were made is unknown: was it made from Python?"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["kind"] == "exported":
            return ExportedEncoder(checkpoint or content["file"], batch_size, Intake.of(content["intake"]))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not say how an encoder is made: {type(error).__name__}: {error}") from error
    from mmengine.config import Config

    from mscmreid.apis import init_model, load_config

    try:
        options = dict(feature=content["feature"], precision=content["precision"])
        intake, kept, weights = Intake.of(content["intake"]), content["config"], content["checkpoint"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not say how an encoder is made: {type(error).__name__}: {error}") from error
    if checkpoint is None and not Path(weights).is_file():
        raise FileNotFoundError(f"the checkpoint of the gallery, {weights}, is gone: say where it is with --checkpoint")
    weights = checkpoint or weights
    cfg = load_config(config) if config is not None else Config(kept)
    if config is not None:
        cfg.model.inference = kept["model"].get("inference", cfg.model.get("inference"))
    return ModelEncoder(
        init_model(cfg, weights, device), intake=intake, batch_size=batch_size, num_workers=num_workers, **options
    )
