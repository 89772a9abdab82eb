"""EXPLAIN: heatmaps of the sample images, clean and at each epsilon."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tensorflow import keras
from tqdm import tqdm

from attnrobust import config, runs, schemas
from attnrobust.errors import UserError
from attnrobust.explanations.methods import EXPLANATIONS

BATCH = 16


def explain(
    model: keras.Model, setting: config.Explanation, attack: config.Attack, attacked: Path,
    folder: Path,
) -> None:  # fmt: skip
    """Write `<method>-clean.npz` and `<method>-<attack>-<epsilon>.npz` for the sample images.

    Each holds id (S,), heatmap (S, H, W) float16, target (S,) (class explained) and prediction
    (S,).

    Args:
        model: Images to logits.
        setting: Methods, layer, target.
        attack: Of the attack stage.
        attacked: Its folder.
        folder: Of this stage.

    Raises:
        UserError: The model has no such layer, or its feature map is no (H, W, C) map.
    """
    if setting.layer not in [layer.name for layer in model.layers]:
        ends = ("_out", "_ac", "_relu")
        maps = [layer.name for layer in model.layers if layer.name.endswith(ends)]
        raise UserError(
            f"explanation.layer '{setting.layer}': no such layer; features is the map the head "
            f"receives; others: {', '.join(maps[-9:])}"
        )
    if len(_shape(model.get_layer(setting.layer))) != 4:
        raise UserError(f"explanation.layer '{setting.layer}' gives no (H, W, C) feature map")
    conditions = {"clean": 0.0} | {f"{attack.name}-{e:g}": e for e in attack.epsilons}
    work = [(method, condition) for method in setting.methods for condition in conditions]
    for method, condition in tqdm(work, "explain", unit="condition", disable=None):
        path = folder / f"{method}-{condition}.npz"
        if path.exists():
            continue
        file = attacked / runs.attack_file(attack.name, conditions[condition])
        found = schemas.load_npz(file, schemas.SHOWN)
        runs.save_npz(path, **_heatmaps(model, setting, method, found))


def _shape(layer: keras.layers.Layer) -> tuple[int | None, ...]:
    shape = layer.output_shape
    # Input layers and layers with several outputs give a list.
    return tuple(shape) if isinstance(shape, tuple) else ()


def _heatmaps(
    model: keras.Model, setting: config.Explanation, method: str, attacked: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    row = config.lookup("explanation", EXPLANATIONS, method)
    position = {id_: index for index, id_ in enumerate(attacked["id"])}
    labels = np.array([attacked["label"][position[id_]] for id_ in attacked["sample_id"]])
    images = attacked["sample_image"]
    predictions = model.predict(images, batch_size=BATCH, verbose=0).argmax(axis=1)
    targets = predictions if setting.target == "prediction" else labels
    heatmaps = np.concatenate([
        row(model, images[i : i + BATCH], targets[i : i + BATCH], setting.layer)
        for i in range(0, len(images), BATCH)
    ])  # fmt: skip
    if not np.isfinite(heatmaps).all():
        raise UserError(f"{method}: the heatmaps are not finite")
    return {
        "id": attacked["sample_id"], "heatmap": half(heatmaps), "target": targets,
        "prediction": predictions,
    }  # fmt: skip


def half(heatmaps: np.ndarray) -> np.ndarray:
    """As float16, each map scaled by a power of two where its range would not fit.

    float16 ends at 65504 and loses digits below 6e-5; a heatmap's scale has no meaning.
    """
    peak = np.maximum(heatmaps.max(axis=(1, 2), keepdims=True), 1e-30)
    scale = np.where((peak > 1e4) | (peak < 1e-1), np.exp2(-np.floor(np.log2(peak))), 1.0)
    return (heatmaps * scale).astype(np.float16)
