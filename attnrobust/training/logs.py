"""What is said of a training: a line an epoch, TensorBoard events, how it ended."""

from __future__ import annotations

import logging
from typing import Any

import tensorflow as tf

from attnrobust import config
from attnrobust.training.adversarial import one_step_alone
from attnrobust.training.state import State

log = logging.getLogger("attnrobust")


def end(state: State, setting: config.Training) -> None:
    """Log why training ended before its last epoch, and catastrophic overfitting."""
    last = state.history[-1]
    overfitted = last if state.collapsed else state.kept
    if state.collapsed or one_step_alone(state.kept):
        log.warning(
            "catastrophic overfitting in epoch %d: validation accuracy %.3f under the single step "
            "of training, %.3f under PGD; %s; try a smaller training.inner_epsilon, or "
            "training.method=adversarial",
            overfitted["epoch"],
            overfitted["val_one_step_accuracy"],
            overfitted["val_robust_accuracy"],
            "stopped, the best weights from before are kept"
            if state.collapsed
            else "its weights are the best there are, and are kept",
        )
    elif state.wait >= setting.patience:
        log.info("no better validation loss for %d epochs: stopped", setting.patience)


def line(row: dict[str, Any], epochs: int, *, best: bool) -> str:
    """A row of the history as a line of the log."""
    said = ("loss", "accuracy", "robust_accuracy", "kappa", "dice")
    trained, judged = (
        "  ".join(
            f"{name.replace('_', ' ')} {row[before + name]:.3f}"
            for name in said
            if before + name in row
        )
        for before in ("", "val_")
    )
    return (
        f"epoch {row['epoch']:>3}/{epochs}  {trained}  validation {judged}"
        f"  {row['seconds']:.1f} s{'  best' if best else ''}"
    )


def tensorboard(writer: tf.summary.SummaryWriter, row: dict[str, Any]) -> None:
    """A row of the history as TensorBoard events."""
    with writer.as_default(step=row["epoch"]):
        for key, value in row.items():
            if key != "epoch":
                tf.summary.scalar(key, value)
    writer.flush()
