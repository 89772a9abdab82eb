"""EXPLAIN: heatmaps of the sample images, clean and at each epsilon."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorflow import keras
from tqdm import tqdm

from attnrobust import config, task
from attnrobust.attacks.judging import judged
from attnrobust.attacks.loader import sample_positions
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.disk import runs, schemas
from attnrobust.errors import UserError
from attnrobust.explanations import SAMPLES
from attnrobust.explanations.methods import EXPLANATIONS
from attnrobust.models import build
from attnrobust.models.backbones import BACKBONES
from attnrobust.models.replicas import Replicas

BATCH = 16


def ready(setting: config.Explanation, model: config.Model, *, classes: int, size: int) -> None:
    """What can be known before there are weights; the network is built where its names must be.

    Args:
        setting: Methods, layer, target.
        model: The network, whatever its weights.
        classes: Number of its logits.
        size: Height and width of its images.

    Raises:
        UserError: No such method, no such layer, or one that gives no (H, W, C) map.
    """
    for method in setting.methods:
        config.lookup("explanation.methods", EXPLANATIONS, method)
    taps = BACKBONES[model.backbone].taps if model.cut == "full" else ()
    if setting.layer not in ("features", *taps):
        require_layer(
            build.build(
                dataclasses.replace(model, weights="none"), classes=classes, image_size=size
            ),
            setting.layer,
        )


def require_layer(model: keras.Model, layer: str) -> None:
    """Raise a UserError unless the model has that layer, and it gives an (H, W, C) map."""
    if layer not in [each.name for each in model.layers]:
        ends = ("_out", "_ac", "_relu")
        maps = [each.name for each in model.layers if each.name.endswith(ends)]
        raise UserError(
            f"explanation.layer '{layer}': no such layer; features is the map the head "
            f"receives; others: {', '.join(maps[-9:])}"
        )
    if len(_shape(model.get_layer(layer))) != 4:
        raise UserError(f"explanation.layer '{layer}' gives no (H, W, C) feature map")


def of_attack(attack: config.Attack, attacked: Path) -> dict[str, Path]:
    """The files of an attack's folder that hold its sample images, by condition."""
    conditions = {"clean": 0.0} | {f"{attack.name}-{e:g}": e for e in attack.epsilons}
    return {
        name: attacked / runs.attack_file(attack.name, epsilon)
        for name, epsilon in conditions.items()
    }


def unattacked(
    replicas: Replicas, dataset: Dataset, data: config.Data, number: int, folder: Path
) -> dict[str, Path]:
    """Write `samples.npz`, the sample images that an attack would keep, for the clean condition.

    It holds id (S,), label (S,), logits (S, K), sample_id (S,), sample_image (S, H, W, 3) and
    sample_mask (S, H, W).

    Args:
        replicas: The model.
        dataset: Records.
        data: Size and limit.
        number: Of images.
        folder: Of this stage.
    """
    path = folder / SAMPLES
    if not path.exists():
        labels = inputs.labels(dataset, "test", data.limit)
        positions = sample_positions(labels, number)
        chosen = np.isin(np.arange(len(labels)), positions)
        batches = inputs.evaluation_batches(
            dataset, "test", data=data, batch_size=BATCH, chosen=chosen
        )
        found = [
            each
            for batch in batches.as_numpy_iterator()
            for each in zip(batch["id"], batch["image"], batch["mask"], strict=True)
        ]
        # In the attacks' order: the first of each class, then the second, and so on.
        found = [found[place] for place in np.argsort(np.argsort(positions))]
        ids = np.array([id_.decode() for id_, _, _ in found])
        images = np.stack([image for _, image, _ in found])
        size = replicas.batch(BATCH)
        logits = np.concatenate(
            [judged(replicas, images[i : i + size], size) for i in range(0, len(images), size)]
        )
        masks = np.stack([inputs.decode_mask(mask, data.image_size) for _, _, mask in found])
        runs.save_npz(
            path,
            id=ids,
            label=labels[positions],
            logits=logits,
            sample_id=ids,
            sample_image=images,
            sample_mask=masks,
        )
    return {"clean": path}


def explain(
    model: keras.Model, setting: config.Explanation, images: Mapping[str, Path], folder: Path
) -> None:
    """Write `<method>-<condition>.npz` for the sample images of every condition.

    Each holds id (S,), heatmap (S, H, W) float16, target (S,) (class explained) and prediction
    (S,).

    Args:
        model: Images to logits.
        setting: Methods, layer, target.
        images: The file of each condition's sample images: `clean` and `<attack>-<epsilon>`.
        folder: Of this stage.

    Raises:
        UserError: The model has no such layer, or its feature map is no (H, W, C) map.
    """
    require_layer(model, setting.layer)
    work = [(method, condition) for method in setting.methods for condition in images]
    for method, condition in tqdm(work, "explain", unit="condition", disable=None):
        path = folder / f"{method}-{condition}.npz"
        if path.exists():
            continue
        found = schemas.load_npz(images[condition], schemas.SHOWN)
        runs.save_npz(path, **_heatmaps(model, setting, method, found))


def _shape(layer: keras.layers.Layer) -> tuple[int | None, ...]:
    shape = layer.output_shape
    # Input layers and layers with several outputs give a list.
    return tuple(shape) if isinstance(shape, tuple) else ()


def _heatmaps(
    model: keras.Model, setting: config.Explanation, method: str, attacked: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    row = EXPLANATIONS[method]
    position = {id_: index for index, id_ in enumerate(attacked["id"])}
    labels = np.array([attacked["label"][position[id_]] for id_ in attacked["sample_id"]])
    images = attacked["sample_image"]
    predictions = task.predict(model.predict(images, batch_size=BATCH, verbose=0))
    targets = predictions if setting.target == "prediction" else labels
    heatmaps = np.concatenate(
        [
            row(model, images[i : i + BATCH], targets[i : i + BATCH], setting.layer)
            for i in range(0, len(images), BATCH)
        ]
    )
    if not np.isfinite(heatmaps).all():
        raise UserError(f"{method}: the heatmaps are not finite")
    return {
        "id": attacked["sample_id"],
        "heatmap": half(heatmaps),
        "target": targets,
        "prediction": predictions,
    }


def half(heatmaps: np.ndarray) -> np.ndarray:
    """As float16, each map scaled by a power of two where its range would not fit.

    float16 ends at 65504 and loses digits below 6e-5; a heatmap's scale has no meaning.
    """
    peak = np.maximum(heatmaps.max(axis=(1, 2), keepdims=True), 1e-30)
    scale = np.where((peak > 1e4) | (peak < 1e-1), np.exp2(-np.floor(np.log2(peak))), 1.0)
    return (heatmaps * scale).astype(np.float16)
