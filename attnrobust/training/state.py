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

from attnrobust import runs
from attnrobust.training.adversarial import collapsed

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
            state._arrays = runs.load_npz(path)
            words = json.loads(str(state._arrays.pop("words")))
            state.history, state.best, state.wait = words["history"], words["best"], words["wait"]
            log.info("going on after epoch %d", state.epoch)
        return state

    def restore(self, model: keras.Model) -> None:
        """Put weights and optimizer of the last finished epoch into the model, if there was one.

        The model must learn as it did in that epoch: an optimizer has variables for what it moves.
        """
        if self._arrays:
            variables = _variables(model)
            for variable, name in zip(variables, sorted(self._arrays), strict=True):
                variable.assign(self._arrays[name])
            self._arrays = {}


def _variables(model: keras.Model) -> Sequence[tf.Variable]:
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    found = [*model.variables, *optimizer.variables]
    if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        # Not among its variables; from another scale a resume would drop other steps.
        scale = optimizer._loss_scale
        found += [scale._current_loss_scale, scale.counter]
    return found
