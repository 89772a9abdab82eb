"""Whether a confusion matrix looks as if the classes were named in another order at training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from attnrobust import keyed

# By how much another order must be better, in balanced accuracy, and than how many of so many
# shuffles of the labels, which also gain by the best of all orders.
GAIN, SHUFFLES = 0.2, 200


def order_note(confusion: np.ndarray, classes: Sequence[str], given: Sequence[str] = ()) -> str:
    """A line for people where another order of the classes explains the predictions far better.

    The best order is an assignment of predictions to labels (Kuhn 1955); balanced over the labels,
    so that a model that names one class for all looks like what it is.

    Args:
        confusion: (K, K) counts, rows the labels, columns the predictions.
        classes: Names of rows and columns.
        given: Order of the model's outputs as the user gave it; empty: that of `classes`.

    Returns:
        Empty where the order as it stands is as good as any, or there are too few images to tell.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    now, best, columns = _orders(counts)
    if best - now < GAIN or best - now <= _by_chance(counts):
        return ""
    names = list(classes)
    # Where in the user's list the output stands that is really this class.
    before = list(given or names)
    order = list(before)
    for label, column in enumerate(columns):
        order[before.index(names[column])] = names[label]
    return (
        f"the classes look {_kind(columns)}: as they are named, balanced accuracy is {now:.2f}, in "
        f"another order it would be {best:.2f} ({_called(counts, names)}); was the model trained "
        f"with --classes {','.join(order)}?"
    )


def best_order(confusion: np.ndarray) -> tuple[float, float]:
    """Balanced accuracy as it stands, and in the order of classes that fits best."""
    now, best, _ = _orders(np.asarray(confusion, dtype=np.int64))
    return now, best


def _orders(counts: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Balanced accuracy now and at best, and the column of each label at best."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    rows, columns = linear_sum_assignment(shares, maximize=True)
    seen = max(1, int((totals > 0).sum()))
    return float(np.trace(shares) / seen), float(shares[rows, columns].sum() / seen), columns


def _by_chance(counts: np.ndarray) -> float:
    """The largest gain among shuffles of the labels."""
    labels, predictions = (
        np.repeat(places.ravel(), counts.ravel()) for places in np.indices(counts.shape)
    )
    rng, gains = keyed.generator("class order"), [0.0]
    for _ in range(SHUFFLES):
        shuffled = np.zeros_like(counts)
        np.add.at(shuffled, (rng.permutation(labels), predictions), 1)
        now, best, _ = _orders(shuffled)
        gains.append(best - now)
    return max(gains)


def _kind(columns: np.ndarray) -> str:
    number = len(columns)
    if number == 2:
        return "swapped"
    shifts = {int(each) for each in (columns - np.arange(number)) % number}
    if len(shifts) == 1 and shifts & {1, number - 1}:
        return "shifted by one"
    return "permuted"


def _called(counts: np.ndarray, names: Sequence[str]) -> str:
    """What the three most frequent wrongly named classes are called."""
    said = []
    for label in np.argsort(-counts.sum(axis=1), kind="stable"):
        column = int(counts[label].argmax())
        if column != label and counts[label].any():
            share = counts[label, column] / counts[label].sum()
            said.append(f"{share:.0%} of {names[label]} are called {names[column]}")
    return ", ".join(said[:3])
