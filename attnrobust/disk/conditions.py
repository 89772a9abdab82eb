"""What predict and the attacks left on disk, each condition of the same images and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from attnrobust import task
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError

# Share of the pixels of class maps that may differ between two passes over the same images.
PIXELS = 1e-3


def shared(run: Run) -> dict[tuple[str, str], tuple[float, list[str]]]:
    """Epsilon and labels, by norm and epsilon as text, where two attacks or more share both."""
    found: dict[tuple[str, str], tuple[float, list[str]]] = {}
    for label, attack in run.attacks().items():
        # Through the softmax stands what a paper may have measured, no worst case of ours.
        for epsilon in attack.epsilons if attack.outputs == "logits" else ():
            found.setdefault((run.norm(label), f"{epsilon:g}"), (epsilon, []))[1].append(label)
    return {
        key: found[key]
        for key in sorted(found, key=lambda key: (key[0], found[key][0]))
        if len(found[key][1]) > 1
    }


def within(run: Run, norm: str, epsilon: float) -> list[tuple[str, float]]:
    """Labels and epsilons of what attacks of that norm left in the ball of that epsilon.

    A smaller ball lies inside it, so what fell there has fallen. In `carry` mode an attack's files
    hold that already.
    """
    found = []
    for label, attack in run.attacks().items():
        if run.norm(label) == norm and attack.outputs == "logits":
            inside = [each for each in sorted(attack.epsilons) if each <= epsilon]
            last = inside if attack.mode == "independent" else inside[-1:]
            found += [(label, each) for each in last]
    return found


def attacked(
    run: Run, label: str, epsilon: float, clean: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What an attack left at an epsilon, of the same images and weights as the clean condition."""
    place = run.attacked(label) / runs.attack_file(run.attacks()[label].name, epsilon)
    attacked = schemas.load_npz(place, {**schemas.MEASURED, run.norm(label): "f N"})
    if not np.array_equal(clean["id"], attacked["id"]):
        raise UserError(
            f"{run.root}: predict and attack '{label}' (ε {epsilon:g}) hold different images"
        )
    require_alike(place, clean, attacked)
    weights = [
        (run.stamp(stage) or {}).get("inputs")
        for stage in ("predict", run.place_of("attack", label))
    ]
    before, after = (task.predict_in(each) for each in (clean, attacked))
    # In another batch a few of so many pixels may round to another class; an image does not.
    most = PIXELS if task.of_file(clean).graded else 0.0
    if weights[0] != weights[1] or (epsilon == 0 and (before != after).mean() > most):
        raise UserError(
            f"{run.root}: clean predictions differ between predict and attack '{label}'; the "
            "weights or records have changed in between: run both again with --force"
        )
    return attacked


def worst(
    clean: dict[str, np.ndarray], several: Sequence[dict[str, np.ndarray]], norm: str
) -> dict[str, np.ndarray]:
    """Of each image the first attack under which it fell, or the first attack where it stands.

    What falls by degrees, a segmented image, is taken from the attack that harms it most.
    What was wrong without an attack has fallen without one. So its accuracy is the mean of the
    minimum over the attacks, not the minimum of their means.
    """
    # The image itself lies in every ball: what was wrong without an attack has fallen.
    row = task.of_file(clean)
    unchanged = {row.scores: clean[row.scores], "linf": 0 * several[0]["linf"]}
    unchanged[norm] = unchanged["linf"]
    every = [unchanged, *several]
    labels, rows = clean["label"], np.arange(len(clean["label"]))
    reached = np.stack([row.reached(each[row.scores], labels, None) for each in every])
    which = np.where((reached > task.RIGHT).any(axis=0), reached.argmax(axis=0), 1)
    return {
        "label": labels,
        **{
            name: np.stack([each[name] for each in every])[which, rows]
            for name in dict.fromkeys((row.scores, "linf", norm))
        },
    }


def corrupted(
    run: Run, clean: dict[str, np.ndarray]
) -> Iterator[tuple[str, int, dict[str, np.ndarray]]]:
    """Name, severity and what predict left of every corruption, of the images of `clean`."""
    for path in sorted(run.path("predict").glob("corruption-*-*.npz")):
        name, severity = path.stem.removeprefix("corruption-").rsplit("-", 1)
        if severity not in ("1", "2", "3", "4", "5"):
            raise UserError(
                f"{path}: expected a name that ends in a severity of 1 to 5; it is no "
                "file of predict, move it away"
            )
        found = schemas.load_npz(path, schemas.PREDICTED)
        if not np.array_equal(clean["id"], found["id"]):
            raise UserError(f"{path}: not the images of clean.npz; run predict again with --force")
        require_alike(path, clean, found)
        yield name, int(severity), found


def require_alike(place: Path, clean: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    """The same images have the same labels and classes."""
    scores, labels = task.of_file(clean).scores, found["label"]
    shape = found[scores].shape if scores in found else ()
    if shape != clean[scores].shape or not np.array_equal(labels, clean["label"]):
        raise schemas.damaged(
            place,
            "labels or classes other than in predict/clean.npz",
            "run its stage again with --force",
        )
