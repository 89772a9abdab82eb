"""What the model makes of its heatmaps: deletion, insertion, and how far small noise moves them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from tensorflow import keras

from attnrobust import config, keyed
from attnrobust.attacks.judging import judged
from attnrobust.console import progress
from attnrobust.disk import runs, schemas
from attnrobust.explanations import SCORES
from attnrobust.explanations.base import Batch
from attnrobust.explanations.methods import heatmaps
from attnrobust.measures.metrics import probabilities
from attnrobust.models.replicas import Replicas

# Images (N, H, W, 3), targets (N,) and ids (N,) to heatmaps (N, H, W).
Explain = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# Steps from an image to its baseline; draws of noise, and its largest value in [0, 1] pixels.
STEPS, DRAWS, RADIUS = 10, 4, 0.02
BATCH = 16


def explainers(model: keras.Model, setting: config.Explanation, seed: int) -> dict[str, Explain]:
    """The methods of a setting as functions of images, targets and ids alone, batched."""

    def explain(
        method: str, images: np.ndarray, targets: np.ndarray, ids: np.ndarray
    ) -> np.ndarray:
        parts = (slice(i, i + BATCH) for i in range(0, len(ids), BATCH))
        batches = (Batch(images[part], targets[part], ids[part], seed) for part in parts)
        return np.concatenate(
            [heatmaps(method, model, batch, setting)["heatmap"] for batch in batches]
        )

    return {method: functools.partial(explain, method) for method in setting.methods}


def write(
    replicas: Replicas,
    methods: Mapping[str, Explain],
    images: Mapping[str, Path],
    folder: Path,
) -> None:
    """Write `faithfulness-<method>-<condition>.npz` beside the heatmaps of each.

    Each holds id (S,), deletion (S,) and insertion (S,), and that of the clean condition
    max_sensitivity (S,), which is a property of the method more than of the condition.

    Args:
        replicas: The model that was explained.
        methods: From `explainers`.
        images: The file of each condition's sample images.
        folder: Of the explain stage.
    """
    work = [(method, condition) for method in methods for condition in images]
    for method, condition in progress(work, "faithfulness", unit="condition"):
        path = folder / SCORES.format(f"{method}-{condition}")
        if path.exists():
            continue
        shown = schemas.load_npz(images[condition], schemas.SHOWN)
        found = schemas.load_npz(folder / f"{method}-{condition}.npz", schemas.EXPLAINED)
        pixels, ids, targets = shown["sample_image"], shown["sample_id"], found["target"]
        deletion, insertion = causal(
            lambda frames: judged(replicas, frames, replicas.batch(BATCH)),
            pixels,
            found["heatmap"],
            targets,
        )
        more = {}
        if condition == "clean":
            more = {"max_sensitivity": max_sensitivity(methods[method], pixels, targets, ids)}
        runs.save_npz(path, id=ids, deletion=deletion, insertion=insertion, **more)


def causal(
    logits: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    heatmaps: np.ndarray,
    targets: np.ndarray,
    *,
    baseline: np.ndarray | None = None,
    steps: int = STEPS,
) -> tuple[np.ndarray, np.ndarray]:
    """Areas under the deletion and the insertion curve (Petsiuk et al. 2018), in [0, 1].

    The target's probability, of class maps its mean over all pixels, while an image's pixels,
    largest heat first, give way to the baseline, and while they take its place: a map is faithful
    where deletion is low and insertion high. Trapezoids over equal shares of the pixels. Pixels of
    equal heat go in an order drawn once, the same for every image, since row by row would be a
    shape of its own.

    Args:
        logits: Images (N, H, W, 3), N at most BATCH, to logits (N, K).
        images: (S, H, W, 3) in [0, 1].
        heatmaps: (S, H, W).
        targets: (S,) classes.
        baseline: (S, H, W, 3); None: each image's own mean colour.
        steps: From one end to the other.

    Returns:
        Deletion (S,) and insertion (S,).
    """
    if baseline is None:
        baseline = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    ranks = _ranks(heatmaps)
    frames = _frames(images, baseline.astype(images.dtype), ranks, steps)
    wanted = np.repeat(targets, 2 * (steps + 1))
    found = []
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        batch = np.stack([next(frames) for _ in part])
        found.append(_share(probabilities(logits(batch)), part))
    curves = np.concatenate(found).reshape(len(images), 2, steps + 1)
    areas = (curves[..., :-1] + curves[..., 1:]).mean(axis=-1) / 2
    return areas[:, 0], areas[:, 1]


def _share(probability: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Each image's probability of its target (N,); of class maps (N, H, W, K) the mean over all."""
    chosen = probability[np.arange(len(targets)), ..., targets]
    return np.asarray(chosen.reshape(len(targets), -1).mean(axis=1))


def _ranks(heatmaps: np.ndarray) -> np.ndarray:
    """Of each pixel its place (S, H, W): 0 has the most heat."""
    flat = heatmaps.reshape(len(heatmaps), -1).astype(np.float64)
    drawn = np.random.default_rng(0).permutation(flat.shape[1])
    order = drawn[np.argsort(-flat[:, drawn], axis=1, kind="stable")]
    return np.argsort(order, axis=1).reshape(heatmaps.shape)


def _frames(
    images: np.ndarray, baselines: np.ndarray, ranks: np.ndarray, steps: int
) -> Iterator[np.ndarray]:
    """Of each image those of deletion, then those of insertion; one at a time, for memory."""
    counts = np.linspace(0, ranks[0].size, steps + 1).astype(int)
    for image, baseline, rank in zip(images, baselines, ranks, strict=True):
        for before, after in ((image, baseline), (baseline, image)):
            for count in counts:
                yield np.where((rank < count)[..., None], after, before)


def max_sensitivity(
    explain: Explain,
    images: np.ndarray,
    targets: np.ndarray,
    ids: np.ndarray,
    *,
    draws: int = DRAWS,
    radius: float = RADIUS,
) -> np.ndarray:
    """Max-sensitivity (Yeh et al. 2019): the farthest that small noise moves a map.

    Distance and length in L2, relative to the map's own length: 0 is a map that stays. The noise is
    uniform in the L-infinity ball, cut at [0, 1], drawn by image and draw, so that no batch changes
    it. The class that is explained stays.

    Args:
        explain: Images, targets and ids to heatmaps.
        images: (S, H, W, 3) in [0, 1].
        targets: (S,) classes.
        ids: (S,) of the images.
        draws: Of noise.
        radius: In [0, 1] pixels.

    Returns:
        (S,); NaN for a map of zeros.
    """
    before = explain(images, targets, ids).astype(np.float64)
    length = np.sqrt(np.square(before).sum(axis=(1, 2)))
    farthest = np.zeros(len(images))
    for draw in range(draws):
        noise = [
            keyed.generator("max_sensitivity", id_, draw).uniform(-radius, radius, images.shape[1:])
            for id_ in ids
        ]
        noisy = np.clip(images + np.stack(noise), 0, 1).astype(np.float32)
        apart = explain(noisy, targets, ids) - before
        farthest = np.maximum(farthest, np.sqrt(np.square(apart).sum(axis=(1, 2))))
    return np.where(length > 0, farthest / np.where(length > 0, length, 1), np.nan)
