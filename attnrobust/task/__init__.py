"""TASKS: what a model is for: what a label is, what a model says, and when it is wrong.

Here is what needs no TensorFlow; `attnrobust.task.graph` is for what is computed inside a graph.
Scores are what a model says of an example as a file keeps it (see `Task.keep`), or anything in the
same order, such as probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

RIGHT, WRONG, FALLEN = 0, 1, 2


@dataclass(frozen=True)
class Task:
    """A row of TASKS.

    Attributes:
        axes: Of its logits, the batch's among them: by these a model's task is known.
        scores: Name of the array in which files keep what a model says.
        stored: The label and the scores in a file, as in disk/schemas/arrays.py.
        keep: Logits (N, …) to the scores that are kept of them.
        predict: Scores to predictions, of the labels' shape.
        right: Scores and labels to whether each example is right (N,) bool.
        aimed: Scores and a class to whether each example is taken for it (N,) bool.
    """

    axes: int
    scores: str
    stored: Mapping[str, str]
    keep: Callable[[np.ndarray], np.ndarray]
    predict: Callable[[np.ndarray], np.ndarray]
    right: Callable[[np.ndarray, np.ndarray], np.ndarray]
    aimed: Callable[[np.ndarray, int], np.ndarray]

    def reached(self, scores: np.ndarray, labels: np.ndarray, target: int | None) -> np.ndarray:
        """What an attack that goes for `target`, or for anything wrong, has reached (N,).

        FALLEN: what it goes for; WRONG: wrong, but not the target; RIGHT: nothing.
        """
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
    """The task that these scores are of."""
    return TASKS[name_of(scores.ndim)]


def predict(scores: np.ndarray) -> np.ndarray:
    """Predictions, of the labels' shape."""
    return of(scores).predict(scores)


def right(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each example is right (N,) bool."""
    return of(scores).right(scores, labels)


def of_file(found: Mapping[str, np.ndarray]) -> Task:
    """The task whose arrays a file holds."""
    return next(row for row in TASKS.values() if row.stored.keys() <= found.keys())


def right_in(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether each example of a file is right (N,) bool."""
    row = of_file(found)
    return row.right(found[row.scores], found["label"])


def kept(logits: np.ndarray) -> dict[str, np.ndarray]:
    """What a file keeps of logits: the scores, by their name."""
    row = of(logits)
    return {row.scores: row.keep(logits)}


def _class(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores.argmax(axis=-1))


TASKS: dict[str, Task] = {
    # A label is a class (N,) int64, logits are (N, K).
    "classify": Task(
        axes=2,
        scores="logits",
        stored={"label": "i N", "logits": "f N K"},
        keep=lambda logits: logits,
        predict=_class,
        right=lambda scores, labels: np.asarray(_class(scores) == labels),
        aimed=lambda scores, target: np.asarray(_class(scores) == target),
    ),
}
