"""What lies between two epochs: all that a killed run needs to go on.

Chance is not part of it: everything that is drawn in training is keyed by seed, epoch and step.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust.disk import runs, schemas
from attnrobust.training.adversarial import collapsed

AGAIN = "delete it to train anew"
log = logging.getLogger("attnrobust")


class State:
    """What a resume needs: weights, optimizer, history, early stopping; one file, one rename.

    Attributes:
        history: A row for each finished epoch.
        best: Lowest validation loss that counted as an improvement.
        wait: Epochs since then.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []
        self.best = math.inf
        self.wait = 0
        self._arrays: dict[str, np.ndarray] = {}
        self._path = Path()

    @property
    def epoch(self) -> int:
        """Finished epochs, and the index of the next one."""
        return len(self.history)

    @property
    def collapsed(self) -> bool:
        """Whether the last epoch shows catastrophic overfitting."""
        return bool(self.history) and collapsed(self.history)

    @property
    def kept(self) -> dict[str, Any]:
        """The row of the epoch whose weights are the best; there must be one."""
        return next(row for row in self.history if row["val_loss"] == self.best)

    def add(self, row: dict[str, Any], min_delta: float) -> bool:
        """Take in an epoch; whether it is the best so far."""
        self.history.append(row)
        improved = row["val_loss"] < self.best - min_delta
        self.best = row["val_loss"] if improved else self.best
        self.wait = 0 if improved else self.wait + 1
        return improved

    def save(self, folder: Path, model: keras.Model) -> None:
        """Write `state.npz`, atomically."""
        words = {"history": self.history, "best": self.best, "wait": self.wait}
        arrays = {f"v{i:05d}": v.numpy() for i, v in enumerate(_variables(model))}
        runs.save_npz(folder / "state.npz", words=np.array(json.dumps(words)), **arrays)

    def derive(self, folder: Path, model: keras.Model) -> None:
        """Write `history.jsonl`, then `weights.h5` if the last epoch is the best.

        Both follow from the state, so that a resume makes them again. In this order the weights
        are never of an epoch that the history does not hold.
        """
        lines = (json.dumps(row) + "\n" for row in self.history)
        runs.save_text(folder / "history.jsonl", "".join(lines))
        if self.kept is self.history[-1]:
            with runs.atomic(folder / "weights.h5") as temporary:
                model.save_weights(temporary, save_format="h5")

    @classmethod
    def load(cls, folder: Path) -> State:
        """The state on disk, or a new one where there is none."""
        state = cls()
        path = folder / "state.npz"
        if path.exists():
            state._arrays = schemas.load_npz(path, {})
            words = _words(state._arrays.pop("words", None), path)
            state.history, state.best, state.wait = words["history"], words["best"], words["wait"]
            state._path = path
            log.info("going on after epoch %d", state.epoch)
        return state

    def restore(self, model: keras.Model) -> None:
        """Put weights and optimizer of the last finished epoch into the model, if there was one.

        The model must learn as it did in that epoch: an optimizer has variables for what it moves.
        """
        if self._arrays:
            variables, arrays = _variables(model), [self._arrays[n] for n in sorted(self._arrays)]
            shapes = [tuple(variable.shape) for variable in variables]
            if shapes != [array.shape for array in arrays] or not all(map(_numbers, arrays)):
                raise schemas.damaged(self._path, "other variables than the model's", AGAIN)
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)
            self._arrays = {}


def _numbers(array: np.ndarray) -> bool:
    return array.dtype.kind in "fiub"


def _words(array: np.ndarray | None, path: Path) -> dict[str, Any]:
    """What of a state is no array: history, best loss, epochs since then."""
    try:
        words = json.loads(str(array))
    except (ValueError, RecursionError):
        words = None
    found: dict[str, Any] = schemas.checked(words, schemas.Progress, path, AGAIN)
    last = [row.get("epoch") for row in found["history"]]
    if last != list(range(1, len(last) + 1)) or any("val_loss" not in r for r in found["history"]):
        raise schemas.damaged(path, "history: not one row for each epoch", AGAIN)
    return found


def _variables(model: keras.Model) -> Sequence[tf.Variable]:
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    found = [*model.variables, *optimizer.variables]
    if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        # Not among its variables; from another scale a resume would drop other steps.
        scale = optimizer._loss_scale
        found += [scale._current_loss_scale, scale.counter]
    return found
