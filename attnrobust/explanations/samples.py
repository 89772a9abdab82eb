"""The sample images of a run under one condition and their heatmaps, from files. No TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attnrobust import config, task
from attnrobust.disk import runs, schemas, stamps
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.explanations import SAMPLES, SCORES, UNATTACKED
from attnrobust.measures import maps
from attnrobust.measures.maps import MAP_METRICS

# What holds sample images: an attack's file, or what was kept where there was no attack.
SAMPLED = {**schemas.PREDICTED, **schemas.SHOWN, "sample_mask?": "b S H W"}


@dataclass(frozen=True)
class Explained:
    """The sample images of a run under one condition and one method.

    Attributes:
        ids: (S,).
        groups: What images are resampled together (S,): the ids, where no group is known.
        labels: True classes (S,), or class maps (S, H, W).
        predictions: Classes that the model sees in these very images, likewise.
        images: float32 RGB (S, H, W, 3) in [0, 1], attacked where the condition is an attack.
        heatmaps: (S, H, W), 0 or larger.
        signed: The same with a sign (S, H, W), where the method has one; else None.
        masks: The regions that matter, bool (S, H, W); None where the file holds none. Of class
            maps where the label has the class that is explained.
        scores: What the model makes of each map (S,), by row of MAP_METRICS; NaN where it is not
            defined, none where it was not asked.
        targets: Classes that are explained (S,); None in files of earlier versions.
    """

    ids: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    images: np.ndarray
    heatmaps: np.ndarray
    signed: np.ndarray | None = None
    masks: np.ndarray | None = None
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    targets: np.ndarray | None = None

    @property
    def right(self) -> np.ndarray:
        """Which images the model has right, bool (S,)."""
        if self.labels.ndim == 1:
            return np.asarray(self.predictions == self.labels)
        return task.right(self.predictions, self.labels)

    def region(self, maps: np.ndarray, row: int) -> np.ndarray | None:
        """Where labels or predictions have the class that is explained (H, W); None for classes."""
        if maps.ndim == 1 or self.targets is None:
            return None
        return np.asarray(maps[row] == self.targets[row])

    @property
    def measured(self) -> list[str]:
        """The rows of MAP_METRICS that these samples have numbers for."""
        masked = self.masks is not None and bool(self.masks.any())
        return [
            name
            for name, row in MAP_METRICS.items()
            if (name in self.scores if row.scored else masked or not row.masked)
        ]

    def values(self, metric: str) -> np.ndarray:
        """A number of each map (S,), float64; NaN where it is not defined, or was not asked."""
        if MAP_METRICS[metric].scored:
            return self.scores.get(metric, np.full(len(self.ids), np.nan))
        masks = np.zeros(self.heatmaps.shape, bool) if self.masks is None else self.masks
        pairs = zip(self.heatmaps, masks, strict=True)
        return np.array([maps.measure(metric, heatmap, mask) for heatmap, mask in pairs])


def explained(run: Run) -> dict[str, tuple[str, ...]]:
    """Of every attack whose samples were explained the methods; UNATTACKED is the last.

    Raises:
        UserError: A stamp is damaged.
    """
    found = {}
    for label in (*run.attacks(), UNATTACKED):
        place = _place(run, label)
        stamp = run.stamp(place)
        if stamp and stamp["finished"]:
            found[label] = stamps.explanation(stamp, run.path(place, "stage.json")).methods
    return found


def _place(run: Run, label: str) -> str:
    """Where the stage that explained them is, in the run's folder."""
    return f"explain/{UNATTACKED}" if label == UNATTACKED else run.place_of("explain", label)


def current(run: Run, label: str) -> bool:
    """Whether heatmaps are of the weights, records and images that the run has now."""
    place = _place(run, label)
    predicted = (run.stamp("predict") or {}).get("inputs", "")
    images = [] if label == UNATTACKED else [run.attacked(label) / "stage.json"]
    now = runs.digest(predicted, *images) if images else predicted
    return bool((run.stamp(place) or {}).get("inputs") == now)


def setting(run: Run, label: str) -> config.Explanation:
    """The settings that heatmaps were made with; raises where the stamp is damaged."""
    place = _place(run, label)
    return stamps.explanation(run.stamp(place) or {}, run.path(place, "stage.json"))


def unlike(one: config.Explanation, other: config.Explanation) -> dict[str, tuple[Any, Any]]:
    """Settings that two sets of heatmaps were made otherwise with, but for which methods."""
    pairs = {name: (value, getattr(other, name)) for name, value in vars(one).items()}
    return {name: pair for name, pair in pairs.items() if name != "methods" and pair[0] != pair[1]}


def load(run: Run, label: str, method: str, epsilon: float = 0.0) -> Explained:
    """The samples of a run.

    Args:
        run: With finished attack and explain stages.
        label: Of the attack whose samples they are; UNATTACKED where there was none.
        method: Explanation method.
        epsilon: Radius of the attack; 0 for the images as they are.

    Raises:
        UserError: A file is missing or damaged, or holds other images than the others.
    """
    if label == UNATTACKED:
        folder = run.require(_place(run, label))
        return _load(folder / SAMPLES, folder, method, "clean")
    folder, name = run.require(run.place_of("explain", label)), run.attacks()[label].name
    file = runs.attack_file(name, epsilon)
    condition = file.removesuffix(".npz") if epsilon else "clean"
    return _load(run.attacked(label) / file, folder, method, condition)


def at_all_radii(run: Run, label: str, method: str) -> dict[float, Explained]:
    """The samples of a run by epsilon, 0 first; all with the regions, which a clean file holds.

    Args:
        run: With finished attack and explain stages.
        label: As of `load`.
        method: Explanation method.

    Raises:
        UserError: As `load`, or the attack kept other images at one epsilon than at another.
    """
    clean = load(run, label, method)
    found = {0.0: clean}
    for epsilon in run.attacks()[label].epsilons if label != UNATTACKED else ():
        attacked = load(run, label, method, epsilon)
        alike = clean.images.shape == attacked.images.shape
        if not alike or not np.array_equal(clean.ids, attacked.ids):
            raise UserError(
                "the attack kept other sample images at one epsilon than at another; "
                "run 'attack' again with --force"
            )
        found[epsilon] = regioned(attacked, clean)
    return found


def regioned(attacked: Explained, clean: Explained) -> Explained:
    """Attacked samples with the regions that the clean file alone holds.

    Of class maps they have their own: where the label has the class that each map explains.
    """
    if attacked.masks is None:
        attacked = dataclasses.replace(attacked, masks=clean.masks)
    return attacked


def _load(place: Path, folder: Path, method: str, condition: str) -> Explained:
    """The samples that a file holds, and their heatmaps in the folder of the explain stage."""
    shown = schemas.load_npz(place, SAMPLED)
    path = folder / f"{method}-{condition}.npz"
    found = schemas.load_npz(path, schemas.EXPLAINED)
    again = "run 'explain' again with --force"
    try:
        ids = shown["sample_id"]
        rows, order = _places(shown["id"], ids), _places(found["id"], ids)
    except KeyError as error:
        raise UserError(f"{path}: does not fit {place} (no {error.args[0]}); {again}") from None
    if found["heatmap"].shape[1:] != shown["sample_image"].shape[1:3]:
        raise schemas.damaged(path, f"heatmaps not of the size of {place.name}'s images", again)
    labels, targets = shown["label"][rows], found["target"][order] if "target" in found else None
    masks = shown.get("sample_mask")
    if task.of_file(shown).graded and targets is not None:
        masks = labels == targets[:, np.newaxis, np.newaxis]
    return Explained(
        ids=ids,
        groups=shown["group"][rows] if "group" in shown else ids,
        labels=labels,
        predictions=task.predict_in(shown)[rows],
        images=shown["sample_image"],
        heatmaps=_unscaled(found, "heatmap")[order],
        signed=_unscaled(found, "signed")[order] if "signed" in found else None,
        masks=masks,
        scores={
            **_scores(folder / SCORES.format(f"{method}-{condition}"), ids),
            **({"incompleteness": _incompleteness(found)[order]} if _COMPLETE in found else {}),
        },
        targets=targets,
    )


def _unscaled(found: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Maps as the method gave them, where the file tells what they were multiplied by."""
    if "scale" not in found:
        return found[name]
    return found[name].astype(np.float32) / found["scale"][:, np.newaxis, np.newaxis]


_COMPLETE = "completeness_error"


def _incompleteness(found: dict[str, np.ndarray]) -> np.ndarray:
    """What each image's attributions miss, over the mean difference of logits; NaN where it is 0.

    Not over the image's own, which may be next to nothing: so the mean is the share that is missed
    of all.
    """
    error, difference = (found[name].astype(np.float64) for name in (_COMPLETE, "logit_difference"))
    mean = np.abs(difference).mean()
    return error / mean if mean > 0 else np.full(len(error), np.nan)


def _scores(path: Path, ids: np.ndarray) -> dict[str, np.ndarray]:
    """What the model makes of the maps; files of earlier versions have none beside them."""
    if not path.is_file():
        return {}
    found = schemas.load_npz(path, schemas.SCORED)
    if sorted(found["id"]) != sorted(ids):
        raise schemas.damaged(path, "of other images", "run 'explain' again with --force")
    order = _places(found["id"], ids)
    return {name: values[order] for name, values in found.items() if name != "id"}


def _places(ids: np.ndarray, wanted: np.ndarray) -> list[int]:
    places = {id_: row for row, id_ in enumerate(ids)}
    return [places[id_] for id_ in wanted]
