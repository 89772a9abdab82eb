"""The sweep over epsilon: who falls where, one file for each epsilon, resumable.

Images are streamed from the records at each epsilon; only one row of numbers an image, and the few
sample images, stay in memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from attnrobust import config, runs
from attnrobust.attacks.methods import ATTACKS, Attack
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")

TOLERANCE = 1e-6
Arrays = dict[str, np.ndarray]


def sample_positions(labels: np.ndarray, number: int) -> np.ndarray:
    """Positions of sample images: the first of each class, then the second, and so on."""
    turn = np.zeros(len(labels), int)
    for class_ in np.unique(labels):
        mine = np.flatnonzero(labels == class_)
        turn[mine] = np.arange(len(mine))
    return np.lexsort((labels, turn))[:number]


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
        row = config.lookup("attack", ATTACKS, self.setting.name)
        self.attack: Attack = row(replicas, self.setting, experiment.seed)
        labels = inputs.labels(dataset, "test", self.data.limit)
        if not len(labels):
            raise UserError(f"{dataset.root}: no example in the test split")
        self.labels = labels
        self.samples = sample_positions(labels, self.setting.samples)

    def run(self, folder: Path) -> None:
        """Write `<attack>-<epsilon>.npz` for the clean condition (0) and for each epsilon.

        Each file holds, in record order: id, label, logits (N, K), linf and l2 (N,) recomputed
        from the adversarials, queries (N,) (forward and gradient passes spent at this epsilon;
        the clean pass, that every file shares, not counted) and sample_id (S,), sample_image
        (S, H, W, 3) float32. The clean file also holds sample_mask (S, H, W), all False where the
        records hold no mask. Files that are there already are kept.

        Raises:
            UserError: The model's logits are not finite.
        """
        if self.setting.reach < 1:
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
            state = self._clean() if state is None else self._attacked(state, epsilon)
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
            "linf": nothing, "l2": nothing, "queries": np.zeros(total, np.int64),
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

    def _pass(self, state: Arrays, todo: np.ndarray, epsilon: float, restart: int) -> None:
        """Attack the images of `todo` once, and take over what the attack reached."""
        slot = {position: index for index, position in enumerate(self.samples)}
        with tqdm(desc=f"ε {epsilon:g}", total=int(todo.sum()), unit="image",
                  disable=None) as bar:  # fmt: skip
            for positions, images in self._packed(todo):
                adversarials, logits = self._attack_batch(state, positions, images, epsilon,
                                                          restart)  # fmt: skip
                linf, l2 = _norms(adversarials - images)
                _check_ball(adversarials, linf, epsilon)
                state["queries"][positions] += self.setting.steps + 1
                fell = logits.argmax(axis=1) != self.labels[positions]
                # What fell before stays fallen; a survivor takes over its last attack, too.
                first = restart == 0 and self.setting.mode == "independent"
                take = fell | first | ~_fallen(state)[positions]
                chosen = positions[take]
                state["logits"][chosen] = logits[take]
                state["linf"][chosen], state["l2"][chosen] = linf[take], l2[take]
                for position, image in zip(chosen, adversarials[take], strict=True):
                    if position in slot:
                        state["sample_image"][slot[position]] = image
                bar.update(len(positions))

    def _attack_batch(
        self, state: Arrays, positions: np.ndarray, images: np.ndarray, epsilon: float,
        restart: int,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Adversarials and their logits; the batch is padded, so that its shape never changes."""
        full = self.replicas.padded(images, self.batch_size)
        labels = self.replicas.padded(self.labels[positions], self.batch_size)
        ids = list(state["id"][positions])
        ids += ids[:1] * (self.batch_size - len(ids))
        adversarials = self.attack(
            tf.constant(full), tf.constant(labels), ids, epsilon, restart
        ).numpy()[: len(positions)]
        return adversarials, self._judge(adversarials)[: len(positions)]

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

    def _packed(self, todo: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Positions and images of `todo`, in full batches but for the last."""
        positions: list[int] = []
        images: list[np.ndarray] = []
        start = 0
        for batch in self._batches():
            for offset in np.flatnonzero(todo[start : start + len(batch["id"])]):
                positions.append(start + offset)
                images.append(batch["image"][offset])
                if len(images) == self.batch_size:
                    yield np.array(positions), np.stack(images)
                    positions, images = [], []
            start += len(batch["id"])
        if images:
            yield np.array(positions), np.stack(images)


def _fallen(state: Arrays) -> np.ndarray:
    return np.asarray(state["logits"].argmax(axis=1) != state["label"])


def _norms(perturbation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = perturbation.reshape(len(perturbation), -1)
    return np.abs(flat).max(axis=1), np.linalg.norm(flat, axis=1)


def _check_ball(adversarials: np.ndarray, linf: np.ndarray, epsilon: float) -> None:
    """An attack that leaves the ball or the box would report too low a robust accuracy."""
    if adversarials.min() < 0 or adversarials.max() > 1 or linf.max() > epsilon + TOLERANCE:
        raise ValueError(
            f"attack left its bounds at ε {epsilon:g}: pixels {adversarials.min()} to "
            f"{adversarials.max()}, largest change {linf.max()}"
        )


def _say(state: Arrays, epsilon: float, seconds: float) -> None:
    robust = 1 - _fallen(state).mean()
    attacked = int((state["queries"] > 0).sum())
    rate = f"{attacked / seconds:.1f} images/s" if attacked else f"{seconds:.1f} s"
    kind = "robust accuracy" if epsilon else "clean accuracy"
    log.info("ε %-8.4g (%.2f/255)  %s %.3f  %d of %d attacked, %s", epsilon, 255 * epsilon, kind,
             robust, attacked, len(state["id"]), rate)  # fmt: skip
