"""TASKS: what a model is for: what a label is, what a model says, and when it is wrong.

Here is what needs no TensorFlow; `attnrobust.task.graph` is for what is computed inside a graph.
Scores are what a model says of an example as a file keeps it (see `Task.keep`), or anything in the
same order, such as probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from attnrobust.task import overlap

RIGHT, WRONG, FALLEN = 0, 1, 2
# A segmented image is right from this mean Dice on: "excellent agreement" (Zijdenbos et al. 1994).
RIGHT_DICE = 0.7


@dataclass(frozen=True)
class Task:
    """A row of TASKS.

    Attributes:
        axes: Of its logits, the batch's among them: by these a model's task is known.
        scores: Name of the array in which files keep what a model says.
        stored: The label and the scores in a file, as in disk/schemas/arrays.py.
        keep: Logits (N, …) to the scores that are kept of them.
        predict: Scores to predictions, of the labels' shape.
        score: Scores and labels to how good each example is, (N,) float in [0, 1]: of what attacks
            have made, the least is kept.
        right: Scores and labels to whether each example is right (N,) bool.
        aimed: Scores and a class to whether each example is taken for it (N,) bool.
        graded: Whether an example falls by degrees: attacks go on when it is wrong.
    """

    axes: int
    scores: str
    stored: Mapping[str, str]
    keep: Callable[[np.ndarray], np.ndarray]
    predict: Callable[[np.ndarray], np.ndarray]
    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    right: Callable[[np.ndarray, np.ndarray], np.ndarray]
    aimed: Callable[[np.ndarray, int], np.ndarray]
    graded: bool = False

    @property
    def kept_axes(self) -> int:
        """Of the scores as a file keeps them, the batch's among them."""
        return len(self.stored[self.scores].split()) - 1

    def reached(self, scores: np.ndarray, labels: np.ndarray, target: int | None) -> np.ndarray:
        """What an attack that goes for `target`, or for anything wrong, has reached (N,).

        FALLEN: what it goes for; WRONG: wrong, but not the target; RIGHT: nothing. Where examples
        fall by degrees, what lies between: FALLEN is a score of 0, RIGHT one of 1.
        """
        if target is None and self.graded:
            return FALLEN * (1 - self.score(scores, labels))
        wrong = ~self.right(scores, labels)
        if target is None:
            return np.where(wrong, FALLEN, RIGHT)
        return np.where(self.aimed(scores, target), FALLEN, np.where(wrong, WRONG, RIGHT))


def name_of(axes: int) -> str:
    """The task of logits of so many axes. Raises ValueError where there is none."""
    for name, row in TASKS.items():
        if row.axes == axes:
            return name
    raise ValueError(f"logits of {axes} axes: expected {[row.axes for row in TASKS.values()]}")


def of(scores: np.ndarray) -> Task:
    """The task that these scores are of, be they logits or what a file keeps.

    Raises:
        ValueError: Of none.
    """
    kept = (row for row in TASKS.values() if row.kept_axes == scores.ndim)
    return next(kept, None) or TASKS[name_of(scores.ndim)]


def predict(scores: np.ndarray) -> np.ndarray:
    """Predictions, of the labels' shape."""
    return of(scores).predict(scores)


def right(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each example is right (N,) bool."""
    return of(scores).right(scores, labels)


def score(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How good each example is, (N,) float in [0, 1]."""
    return of(scores).score(scores, labels)


def of_file(found: Mapping[str, np.ndarray]) -> Task:
    """The task whose arrays a file holds."""
    return next(row for row in TASKS.values() if row.stored.keys() <= found.keys())


def right_in(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether each example of a file is right (N,) bool."""
    row = of_file(found)
    return row.right(found[row.scores], found["label"])


def score_in(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """How good each example of a file is, (N,) float in [0, 1]."""
    row = of_file(found)
    return row.score(found[row.scores], found["label"])


def predict_in(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Predictions of a file, of the labels' shape."""
    row = of_file(found)
    return row.predict(found[row.scores])


def main_class(values: np.ndarray) -> np.ndarray:
    """The class that labels or predictions are of (N,): they themselves, or the largest structure.

    Of a class map without any structure it is the background, 0.
    """
    return values if values.ndim == 1 else overlap.largest(values)


def kept(logits: np.ndarray) -> dict[str, np.ndarray]:
    """What a file keeps of logits: the scores, by their name."""
    row = of(logits)
    return {row.scores: row.keep(logits)}


def kept_labels(labels: np.ndarray) -> np.ndarray:
    """What a file keeps of labels: themselves, and class maps in a byte a pixel."""
    return labels if labels.ndim == 1 else labels.astype(np.uint8)


def _class(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores.argmax(axis=-1))


def _right_class(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Never where a score is not finite, whatever class NumPy's argmax may name then."""
    return np.asarray((_class(scores) == labels) & np.isfinite(scores).all(axis=-1))


def _map(scores: np.ndarray) -> np.ndarray:
    """The class map (N, H, W) uint8; itself where that is what a file keeps."""
    return scores if scores.ndim == 3 else _class(scores).astype(np.uint8)


def _dice(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return overlap.dice(_map(scores), labels)


TASKS: dict[str, Task] = {
    # A label is a class (N,) int64, logits are (N, K).
    "classify": Task(
        axes=2,
        scores="logits",
        stored={"label": "i N", "logits": "f N K"},
        keep=lambda logits: logits,
        predict=_class,
        score=lambda scores, labels: _right_class(scores, labels).astype(float),
        right=_right_class,
        aimed=lambda scores, target: np.asarray(_class(scores) == target),
    ),
    # A label is a map of classes (N, H, W), 0 being the background, logits are (N, H, W, K); kept
    # is the map of the likeliest classes, uint8. Taken for a class is what is that class all over.
    "segment": Task(
        axes=4,
        scores="prediction",
        stored={"label": "i N H W", "prediction": "i N H W"},
        keep=_map,
        predict=_map,
        score=_dice,
        graded=True,
        right=lambda scores, labels: np.asarray(_dice(scores, labels) >= RIGHT_DICE),
        aimed=lambda scores, target: np.asarray((_map(scores) == target).all(axis=(1, 2))),
    ),
}
