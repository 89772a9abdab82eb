"""The sweep over epsilon: who falls where, one file for each epsilon, resumable.

Images are streamed from the records at each epsilon; only one row of numbers an image, and the few
sample images, stay in memory.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from attnrobust import config, runs
from attnrobust.attacks.methods import ATTACKS, Attack, Row
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.errors import UserError
from attnrobust.models import memory
from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")

TOLERANCE = 1e-6
NORMS = ("linf", "l2", "l0")
Arrays = dict[str, np.ndarray]


def sample_positions(labels: np.ndarray, number: int) -> np.ndarray:
    """Positions of sample images: the first of each class, then the second, and so on."""
    turn = np.zeros(len(labels), int)
    for class_ in np.unique(labels):
        mine = np.flatnonzero(labels == class_)
        turn[mine] = np.arange(len(mine))
    return np.lexsort((labels, turn))[:number]


def row_of(setting: config.Attack) -> Row:
    """The attack's row.

    Raises:
        UserError: No such attack; an L-inf radius above 1.
    """
    row = config.lookup("attack", ATTACKS, setting.name)
    largest = setting.epsilons[-1]
    if row.norm == "linf" and largest > 1:
        raise UserError(
            f"attack.epsilons = {largest:g}: expected at most 1 for {setting.name}; images are in "
            "[0, 1] pixel scale (8/255 is fine)"
        )
    return row


class Sweep:
    """One attack on the test split at rising epsilons.

    In `carry` mode an image that fell at one epsilon counts as fallen, with that adversarial, at
    every larger one: the smaller ball lies inside the larger. So robust accuracy cannot rise, and
    only survivors are attacked. In `independent` mode every image is attacked at every epsilon.
    The sample images are attacked at every epsilon in both modes, so that figures show each one.

    Args:
        experiment: Attack settings, data, seed.
        dataset: Records.
        replicas: The model.
    """

    def __init__(self, experiment: config.Experiment, dataset: Dataset, replicas: Replicas) -> None:
        self.setting = experiment.attack
        self.data = experiment.data
        self.dataset = dataset
        self.replicas = replicas
        self.batch_size = replicas.batch(self.setting.batch_size)
        memory.require(replicas.model, self.batch_size, "attack.batch_size")
        self.row = row_of(self.setting)
        self.attack: Attack = self.row.make(replicas, self.setting, experiment.seed)
        labels = inputs.labels(dataset, "test", self.data.limit)
        if not len(labels):
            raise UserError(f"{dataset.root}: no example in the test split")
        self.labels = labels
        self.samples = sample_positions(labels, self.setting.samples)

    def run(self, folder: Path) -> None:
        """Write `<attack>-<epsilon>.npz` for the clean condition (0) and for each epsilon.

        Each file holds, in record order: id, label, logits (N, K), linf, l2 and l0 (N,) recomputed
        from the adversarials, queries (N,) (forward and gradient passes spent at this epsilon;
        the clean pass, that every file shares, not counted) and sample_id (S,), sample_image
        (S, H, W, 3) float32. The clean file also holds sample_mask (S, H, W), all False where the
        records hold no mask. Files that are there already are kept.

        Raises:
            UserError: The model's logits are not finite.
        """
        if self.row.steps and self.setting.reach < 1:
            log.warning(
                "warning: %d steps of %.3g ε reach %.2f of the ball; robust accuracy will come out "
                "too high: take more attack.steps or a larger attack.rel_stepsize",
                self.setting.steps, self.setting.rel_stepsize, self.setting.reach,
            )  # fmt: skip
        state: Arrays | None = None
        for epsilon in (0.0, *self.setting.epsilons):
            path = folder / runs.attack_file(self.setting.name, epsilon)
            start = time.monotonic()
            if path.exists():
                state = runs.load_npz(path)
                log.info("ε %g: done before, kept", epsilon)
                continue
            if state is None:
                state = self._clean()
            elif self.row.kind == "minimal":
                state = self._within(folder, state, epsilon)
            else:
                state = self._attacked(state, epsilon)
            runs.save_npz(path, **state)
            _say(state, epsilon, time.monotonic() - start)

    def _clean(self) -> Arrays:
        """The unperturbed images, judged."""
        ids: list[str] = []
        logits, images, masks = [], {}, {}
        total = len(self.labels)
        with tqdm(desc="clean", total=total, unit="image", disable=None) as bar:
            for batch in self._batches():
                start, number = len(ids), len(batch["id"])
                logits.append(self._judge(batch["image"])[:number])
                ids += [id_.decode() for id_ in batch["id"]]
                for position in self.samples[(self.samples >= start)]:
                    if position < start + number:
                        images[position] = batch["image"][position - start]
                        masks[position] = inputs.decode_mask(
                            batch["mask"][position - start], self.data.image_size
                        )
                bar.update(number)
        nothing = np.zeros(total, np.float32)
        return {
            "id": np.array(ids), "label": self.labels, "logits": np.concatenate(logits),
            **dict.fromkeys(NORMS, nothing), "queries": np.zeros(total, np.int64),
            "sample_id": np.array(ids)[self.samples],
            "sample_image": np.stack([images[position] for position in self.samples]),
            "sample_mask": np.stack([masks[position] for position in self.samples]),
        }  # fmt: skip

    def _attacked(self, before: Arrays, epsilon: float) -> Arrays:
        """The state after this epsilon."""
        # Masks are the same at every epsilon: once on disk is enough.
        state = {name: array.copy() for name, array in before.items() if name != "sample_mask"}
        state["queries"][:] = 0
        for restart in range(self.setting.restarts):
            fallen = _fallen(state)
            todo = ~fallen
            if restart == 0:
                todo[self.samples] = True
                if self.setting.mode == "independent":
                    todo[:] = True
            self._pass(state, todo, epsilon, restart)
        return state

    def _within(self, folder: Path, before: Arrays, epsilon: float) -> Arrays:
        """The state at this epsilon of an attack that looks for the smallest perturbation.

        It runs once, with all restarts, into `<attack>-minimal.npz`; here, what it found counts
        where its distance is at most epsilon, and elsewhere the image stands as it was.
        """
        path = folder / f"{self.setting.name}-minimal.npz"
        clean = runs.load_npz(folder / runs.attack_file(self.setting.name, 0.0))
        del clean["sample_mask"]
        if not path.exists():
            runs.save_npz(path, **self._minimal(clean))
        found = runs.load_npz(path)
        near = _fallen(found) & (found[self.row.norm] <= epsilon + TOLERANCE)
        state = {name: np.copy(array) for name, array in clean.items()}
        for name in ("logits", *NORMS):
            state[name][near] = found[name][near]
        shown = near[self.samples]
        state["sample_image"][shown] = found["sample_image"][shown]
        if epsilon == self.setting.epsilons[0]:
            state["queries"] = found["queries"]  # the one run is paid for here
        return state

    def _minimal(self, clean: Arrays) -> Arrays:
        """The nearest adversarial of every image that was right; the images as they were else."""
        state = {name: np.copy(array) for name, array in clean.items()}
        todo = ~_fallen(clean)
        for restart in range(self.setting.restarts):
            for positions, images in self._packed(todo, "nearest"):
                found = self._attack_batch(state, positions, images, math.inf, restart)
                distance = found[self.row.norm]
                nearer = ~_fallen(state)[positions] | (distance < state[self.row.norm][positions])
                wrong = found["logits"].argmax(axis=1) != self.labels[positions]
                self._take(state, positions, found, wrong & nearer)
        return state

    def _pass(self, state: Arrays, todo: np.ndarray, epsilon: float, restart: int) -> None:
        """Attack the images of `todo` once, and take over what the attack reached."""
        for positions, images in self._packed(todo, f"ε {epsilon:g}"):
            found = self._attack_batch(state, positions, images, epsilon, restart)
            if found[self.row.norm].max() > epsilon + TOLERANCE:
                raise ValueError(
                    f"attack left its ball at ε {epsilon:g}: change {found[self.row.norm].max()}"
                )
            fell = found["logits"].argmax(axis=1) != self.labels[positions]
            # What fell before stays fallen; a survivor takes over its last attack, too.
            first = restart == 0 and self.setting.mode == "independent"
            self._take(state, positions, found, fell | first | ~_fallen(state)[positions])

    def _take(self, state: Arrays, positions: np.ndarray, found: Arrays, take: np.ndarray) -> None:
        """Put what an attack found at these positions into the state, where `take` says so."""
        state["queries"][positions] += found["queries"]
        chosen = positions[take]
        for name in ("logits", *NORMS):
            state[name][chosen] = found[name][take]
        slot = {position: index for index, position in enumerate(self.samples)}
        for position, image in zip(chosen, found["image"][take], strict=True):
            if position in slot:
                state["sample_image"][slot[position]] = image

    def _attack_batch(
        self, state: Arrays, positions: np.ndarray, images: np.ndarray, epsilon: float,
        restart: int,
    ) -> Arrays:  # fmt: skip
        """What the attack made of these images, judged and measured anew from the adversarials.

        The batch is padded, so that its shape never changes.
        """
        number = len(positions)
        full = self.replicas.padded(images, self.batch_size)
        labels = self.replicas.padded(self.labels[positions], self.batch_size)
        ids = list(state["id"][positions])
        ids += ids[:1] * (self.batch_size - number)
        made, queries = self.attack(
            tf.constant(full), tf.constant(labels), ids, epsilon, restart
        )  # fmt: skip
        adversarials = np.asarray(made)[:number]
        # An attack that leaves the box would report too low a robust accuracy.
        if not (adversarials.min() >= 0 and adversarials.max() <= 1):
            raise ValueError(
                f"attack left its box: pixels {adversarials.min()} to {adversarials.max()}"
            )
        return {"image": adversarials, "logits": self._judge(adversarials)[:number],
                "queries": queries[:number], **norms(adversarials - images)}  # fmt: skip

    def _judge(self, images: np.ndarray) -> np.ndarray:
        logits = self.replicas.forward(self.replicas.padded(images, self.batch_size)).numpy()
        if not np.isfinite(logits).all():
            raise UserError("the model gives logits that are not finite; no attack can be judged")
        return np.asarray(logits)

    def _batches(self) -> Iterator[Arrays]:
        batches = inputs.evaluation_batches(
            self.dataset, "test", data=self.data, batch_size=self.batch_size
        )
        return iter(batches.as_numpy_iterator())

    def _packed(self, todo: np.ndarray, said: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Positions and images of `todo`, in full batches but for the last."""
        with tqdm(desc=said, total=int(todo.sum()), unit="image", disable=None) as bar:
            positions: list[int] = []
            images: list[np.ndarray] = []
            start = 0
            for batch in self._batches():
                for offset in np.flatnonzero(todo[start : start + len(batch["id"])]):
                    positions.append(start + offset)
                    images.append(batch["image"][offset])
                    if len(images) == self.batch_size:
                        yield np.array(positions), np.stack(images)
                        bar.update(len(images))
                        positions, images = [], []
                start += len(batch["id"])
            if images:
                yield np.array(positions), np.stack(images)
                bar.update(len(images))


def _fallen(state: Arrays) -> np.ndarray:
    return np.asarray(state["logits"].argmax(axis=1) != state["label"])


def norms(perturbation: np.ndarray) -> Arrays:
    """Sizes of perturbations (N, H, W, C): `linf`, `l2`, `l0` (changed pixels), each (N,)."""
    flat = perturbation.reshape(len(perturbation), -1)
    return {"linf": np.abs(flat).max(axis=1), "l2": np.linalg.norm(flat, axis=1),
            "l0": (perturbation != 0).any(axis=-1).sum(axis=(1, 2)).astype(np.float32)}  # fmt: skip


def _say(state: Arrays, epsilon: float, seconds: float) -> None:
    robust = 1 - _fallen(state).mean()
    attacked = int((state["queries"] > 0).sum())
    rate = f"{attacked / seconds:.1f} images/s" if attacked else f"{seconds:.1f} s"
    kind = "robust accuracy" if epsilon else "clean accuracy"
    log.info("ε %-8.4g (%.2f/255)  %s %.3f  %d of %d attacked, %s", epsilon, 255 * epsilon, kind,
             robust, attacked, len(state["id"]), rate)  # fmt: skip
