"""Do heatmaps depend on what the model has learned? Model-parameter randomisation.

After Adebayo et al. 2018 (Sanity Checks for Saliency Maps): from the head back, ever more layers
lose what they have learned, and the maps of the same images and classes are made anew. A method
whose maps stay shows the image, not the model.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow import keras

from attnrobust.disk import runs, schemas
from attnrobust.explanations import RANDOMISED
from attnrobust.explanations.base import NotFinite
from attnrobust.explanations.faithfulness import Explain
from attnrobust.measures import maps, metrics

log = logging.getLogger("attnrobust")

# Shares of the layers with weights, from the head back; 0 is the last of them alone.
CASCADE = (0.0, 1 / 3, 2 / 3, 1.0)
# A rank correlation above it is a map that stays, below it one that changes.
LIMIT = 0.5


def write(model: keras.Model, methods: Mapping[str, Explain], samples: Path, folder: Path) -> None:
    """Write `randomisation.json`: images, and of each method name, status, numbers, meaning.

    `pass` where the 95 % interval of the mean rank correlation with all layers randomised lies
    below LIMIT, `warn` where above, `note` where it holds LIMIT or there is none. Where a network
    overflows that has so many random layers, the last step before that is judged, which may show
    that maps change, but not that they stay.

    Args:
        model: Whose maps they are; its weights are as before when this ends, however it ends.
        methods: From `faithfulness.explainers`.
        samples: The file of the sample images without an attack.
        folder: Of the explain stage, with the clean condition's heatmaps.
    """
    path = folder / RANDOMISED
    if path.exists():
        return
    shown = schemas.load_npz(samples, schemas.SHOWN)
    groups = np.array([_group(shown, id_) for id_ in shown["sample_id"]])
    checks = []
    for method, explain in methods.items():
        targets = schemas.load_npz(folder / f"{method}-clean.npz", schemas.EXPLAINED)["target"]
        found = cascade(
            model, functools.partial(explain, shown["sample_image"], targets, shown["sample_id"])
        )
        checks.append(_judged(method, found, groups))
        level = logging.WARNING if checks[-1]["status"] == "warn" else logging.INFO
        log.log(level, "%-5s %s: %s", *(checks[-1][name] for name in ("status", "title", "said")))
    runs.save_json(path, {"images": len(groups), "checks": checks})


def _group(shown: Mapping[str, np.ndarray], id_: str) -> str:
    """What an image is resampled with; itself in files that know no groups."""
    return str(shown["group"][shown["id"] == id_][0]) if "group" in shown else str(id_)


def cascade(
    model: keras.Model, explain: Callable[[], np.ndarray], shares: Sequence[float] = CASCADE
) -> list[tuple[str, np.ndarray]]:
    """How like the trained model's maps those of ever more random models are.

    A layer is randomised by shuffling the values of each of its variables: the scale of what flows
    through the network stays, what was learned goes.

    Args:
        model: Its weights are as before when this ends.
        explain: Gives the heatmaps (S, H, W) of the model as it is at that moment.
        shares: Of the layers with weights, rising; at least the last one.

    Returns:
        At each share the name of the layer that was reached and Spearman's rank correlations (S,):
        NaN where the trained model's map is constant, 0 where the other is (it shares nothing). It
        ends early where maps are no longer finite, with NaN for all.
    """
    layers = [each for each in model.layers if each.weights and not _fixed(each)][::-1]
    trained, before = [each.get_weights() for each in layers], explain()
    rng, found, done = np.random.default_rng(0), [], 0
    try:
        for share in shares:
            for layer in layers[done : (done := max(1, round(share * len(layers))))]:
                layer.set_weights([_shuffled(rng, each) for each in layer.get_weights()])
            # A deep network without what it has learned may leave float32.
            try:
                after = explain()
            except NotFinite:
                found.append((layers[done - 1].name, np.full(len(before), maps.NONE)))
                break
            alike = [_alike(*pair) for pair in zip(before, after, strict=True)]
            found.append((layers[done - 1].name, np.array(alike)))
    finally:
        for layer, weights in zip(layers, trained, strict=True):
            layer.set_weights(weights)
    return found


def _fixed(layer: keras.layers.Layer) -> bool:
    """Whether its weights are no more than what the pixels are scaled by."""
    return isinstance(layer, keras.layers.Normalization)


def _shuffled(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return rng.permutation(values.ravel()).reshape(values.shape)


def _alike(before: np.ndarray, after: np.ndarray) -> float:
    if np.ptp(before) == 0 or not np.isfinite(after).all():
        return maps.NONE
    return maps.spearman(before, after) if np.ptp(after) else 0.0


def _judged(
    method: str, found: Sequence[tuple[str, np.ndarray]], groups: np.ndarray
) -> dict[str, Any]:
    """The check of one method, as `randomisation.json` keeps it."""
    steps = []
    for layer, values in found:
        defined = ~np.isnan(values)
        value, low, high, _ = metrics.mean(values[defined], groups=groups[defined])
        steps.append((layer, value, low, high, int(defined.sum())))
    told = [step for step in steps if step[-1]]
    if not told:
        said = "maps of the trained model are alike everywhere, or not finite with a random head"
        return _check(method, "note", said, steps)
    last, value, low, high, n = told[-1]
    status = "pass" if high < LIMIT else "warn" if low > LIMIT and told == steps else "note"
    way = ", ".join(f"{each:.2f} ({layer})" for layer, each, *_ in told[:-1])
    how = "with all layers randomised"
    if told != steps:
        how = f"randomised down to {last} (maps are no longer finite at {steps[-1][0]})"
    said = (
        f"rank correlation with the maps of the trained model {value:.2f} ({low:.2f} to "
        f"{high:.2f}, n {n}) {how}{'; from the head back ' * bool(way)}{way}"
    )
    return _check(method, status, said, steps)


def _check(method: str, status: str, said: str, steps: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    names = ("layer", "value", "low", "high", "n")
    return {
        "name": method,
        "title": f"{method} depends on what the model has learned",
        "status": status,
        "said": said,
        "meaning": "The maps are much the same with random weights: they show the image, not the "
        "model.",
        "cascade": [_plain(dict(zip(names, step, strict=True))) for step in steps],
    }


def _plain(step: Mapping[str, Any]) -> dict[str, Any]:
    """Without what JSON cannot hold: a number that is not defined is left out."""
    return {
        name: each
        for name, each in step.items()
        if not (isinstance(each, float) and math.isnan(each))
    }
