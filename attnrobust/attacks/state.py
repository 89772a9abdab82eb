"""The state of a sweep at one epsilon: arrays with a row for each test image, as its file holds.

Its label, what the model says of the last adversarial that counts, that one's sizes, and what it
cost; the adversarials themselves of the few sample images alone.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from attnrobust import config, task
from attnrobust.attacks import checks, judging
from attnrobust.attacks.checks import NORMS
from attnrobust.attacks.judging import Arrays
from attnrobust.attacks.loader import Attacked, Loader
from attnrobust.attacks.progress import Progress
from attnrobust.data import decoding
from attnrobust.disk import schemas
from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")


def clean(loader: Loader, replicas: Replicas, labels: np.ndarray, samples: np.ndarray) -> Arrays:
    """The unperturbed images, judged.

    Args:
        loader: Of the test split.
        replicas: The model.
        labels: (N,) in record order.
        samples: Positions of the sample images.

    Raises:
        UserError: The model's outputs are not finite, or probabilities.
    """
    ids: list[str] = []
    groups: list[bytes] = []
    kept: dict[str, list[np.ndarray]] = {}
    soft, images, masks = [], {}, {}
    total = len(labels)
    with Progress("clean", total) as bar:
        for batch in loader.batches():
            start, number = len(ids), len(batch["id"])
            logits = judging.judged(replicas, batch["image"], loader.batch_size)
            soft.append(checks.are_probabilities(logits))
            for name, values in task.kept(logits).items():
                kept.setdefault(name, []).append(values)
            ids += [id_.decode() for id_ in batch["id"]]
            groups += list(batch["group"])
            for position in samples[(samples >= start) & (samples < start + number)]:
                images[position] = batch["image"][position - start]
                masks[position] = decoding.mask(
                    batch["mask"][position - start], loader.data.image_size
                )
            bar.update(number)
    if all(soft):
        checks.are_logits(logits)  # what holds of all holds of the last batch
    nothing = np.zeros(total, np.float32)
    return {
        "id": np.array(ids),
        "group": np.array([group.decode() for group in groups]),
        "label": task.kept_labels(labels),
        **{name: np.concatenate(parts) for name, parts in kept.items()},
        **dict.fromkeys(NORMS, nothing),
        "queries": np.zeros(total, np.int64),
        "sample_id": np.array(ids)[samples],
        "sample_image": np.stack([images[position] for position in samples]),
        "sample_mask": np.stack([masks[position] for position in samples]),
    }


def load(path: Path, labels: np.ndarray, samples: np.ndarray) -> Arrays:
    """What was written before the sweep was cut off; all columns of today.

    Raises:
        UserError: Damaged, or of other images.
    """
    needed = dict.fromkeys(NORMS, "f N") | {"queries": "i N"}
    found = schemas.load_npz(path, {**schemas.ATTACKED, **needed})
    alike = np.array_equal(found["label"], labels)
    if not alike or len(found["sample_id"]) != len(samples):
        raise schemas.damaged(
            path, "other images than in the records", "delete it and run its stage again"
        )
    return found


def reached(
    state: Arrays, target: int | None, positions: np.ndarray | slice = slice(None)
) -> np.ndarray:
    """What the attack has reached of the images at these positions, see `Task.reached`.

    By whole grades in classification, by degrees in segmentation: what has reached more is kept.
    """
    row = task.of_file(state)
    return row.reached(state[row.scores][positions], state["label"][positions], target)


def standing(state: Arrays, target: int | None) -> np.ndarray:
    """Which images (N,) have not fallen."""
    return np.asarray(reached(state, target) != task.FALLEN)


def update(
    state: Arrays, made: Attacked, found: Arrays, better: np.ndarray, samples: np.ndarray
) -> None:
    """Put what an attack has made into the state.

    Args:
        state: Changed in place.
        made: Of some images.
        found: What `judging.measured` says of it.
        better: (n,) for which of these it replaces what was there.
        samples: Positions of the sample images.
    """
    state["queries"][made.positions] += made.queries
    chosen = made.positions[better]
    for name, values in found.items():
        state[name][chosen] = values[better]
    slot = {position: index for index, position in enumerate(samples)}
    for position, image in zip(chosen, made.adversarials[better], strict=True):
        if position in slot:
            state["sample_image"][slot[position]] = image


def say(
    state: Arrays,
    right: np.ndarray,
    *,
    setting: config.Attack,
    target: int | None,
    epsilon: float,
    seconds: float,
) -> None:
    """One line; robust is what is right without the attack (N,) and in the state.

    Of segmented images, which are right by degrees, the mean Dice.
    """
    graded = task.of_file(state).graded
    right = task.score_in(state) if graded else right & task.right_in(state)
    attacked = int((state["queries"] > 0).sum())
    rate = f"{attacked / seconds:.1f} images/s" if attacked else f"{seconds:.1f} s"
    aim = ""
    if target is not None:
        row = task.of_file(state)
        share = row.aimed(state[row.scores], target).mean()
        aim = f", {share:.3f} read as {setting.target}"
    log.info(
        "ε %-8.4g (%.2f/255)  %s %.3f%s  %d of %d attacked, %s",
        epsilon,
        255 * epsilon,
        f"{'robust' if epsilon else 'clean'} {'Dice' if graded else 'accuracy'}",
        right.mean(),
        aim,
        attacked,
        len(right),
        rate,
    )
