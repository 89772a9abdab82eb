"""The sample images of a run under one condition and their heatmaps, from files. No TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attnrobust import task
from attnrobust.disk import runs, schemas, stamps
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.explanations import SAMPLES, SCORES, UNATTACKED

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
        scores: What the model makes of each map (S,), by name; empty where it was not asked.
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


def explained(run: Run) -> dict[str, tuple[str, ...]]:
    """Of every attack whose samples were explained the methods; UNATTACKED is the last.

    Raises:
        UserError: A stamp is damaged.
    """
    places = {label: run.place_of("explain", label) for label in run.attacks()}
    places[UNATTACKED] = f"explain/{UNATTACKED}"
    found = {}
    for label, place in places.items():
        stamp = run.stamp(place)
        if stamp and stamp["finished"]:
            found[label] = stamps.explanation(stamp, run.path(place, "stage.json")).methods
    return found


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
        folder = run.require(f"explain/{UNATTACKED}")
        return _load(folder / SAMPLES, folder, method, "clean")
    folder, name = run.require(run.place_of("explain", label)), run.attacks()[label].name
    file = runs.attack_file(name, epsilon)
    condition = file.removesuffix(".npz") if epsilon else "clean"
    return _load(run.attacked(label) / file, folder, method, condition)


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
        scores=_scores(folder / SCORES.format(f"{method}-{condition}"), ids),
        targets=targets,
    )


def _unscaled(found: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Maps as the method gave them, where the file tells what they were multiplied by."""
    if "scale" not in found:
        return found[name]
    return found[name].astype(np.float32) / found["scale"][:, np.newaxis, np.newaxis]


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
