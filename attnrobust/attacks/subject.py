"""Part of a test split under one model, attacked again in other ways than its sweep did."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from attnrobust import config, runs
from attnrobust.attacks.checks import TOLERANCE, norms
from attnrobust.attacks.methods import ATTACKS, Attack, untargeted
from attnrobust.attacks.outputs import make, on_logits
from attnrobust.attacks.pool import Item, Pooled
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.models.replicas import Replicas


class Subject:
    """A model, part of the test split, and the sweep that is doubted.

    Attributes:
        files: The sweep's arrays by epsilon, the clean condition under 0.
        epsilon: Where robust accuracy is nearest to half the clean one.
        images: (n, H, W, 3) float32 in [0, 1]; with labels (n,) and ids.
        right: (n,) whether the model is right without an attack.
        slack: What a comparison may be off: a hundredth, or one image where that is more.
        surrogate: Another model of the same records, if there is one: name and how to get it.

    Raises:
        UserError: The sweep aimed at a class.
    """

    def __init__(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        replicas: Replicas,
        sweep_folder: Path,
        surrogate: tuple[str, Callable[[], Replicas]] | None = None,
    ) -> None:
        self.experiment, self.setting, self.replicas = experiment, experiment.attack, replicas
        untargeted(self.setting, "check")
        self.surrogate = surrogate
        name = self.setting.name
        self.norm = ATTACKS[name].norm
        self.files = {
            epsilon: runs.load_npz(sweep_folder / runs.attack_file(name, epsilon))
            for epsilon in (0.0, *self.setting.epsilons)
        }
        half = accuracy(self.files[0.0]) / 2
        self.epsilon = min(self.setting.epsilons, key=lambda e: abs(accuracy(self.files[e]) - half))
        every = [str(id_) for id_ in self.files[0.0]["id"]]
        number = min(experiment.checks.samples, len(every))
        chosen = np.sort(np.random.default_rng(experiment.seed).permutation(len(every))[:number])
        examples = inputs.read(dataset, "test", [every[i] for i in chosen], data=experiment.data)
        self.images, self.labels = examples["image"], examples["label"]
        self.ids = [str(id_) for id_ in examples["id"]]
        self.clean = self.logits(self.images)
        self.right = self.clean.argmax(axis=1) == self.labels
        self.slack = max(0.01, 1 / number)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logits of images (n, H, W, 3), in padded batches."""
        return np.concatenate([self.replicas.forward(full).numpy()[:number]
                               for full, number in self.batches(images)])  # fmt: skip

    def batches(self, rows: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Rows in padded batches, each with the number that are real."""
        size = self.replicas.batch(self.setting.batch_size)
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [(self.replicas.padded(part, size), len(part)) for part in parts]

    def classes(self, images: np.ndarray) -> np.ndarray:
        """Predicted classes (n,)."""
        return np.asarray(self.logits(images).argmax(axis=1))

    @functools.cached_property
    def attacked(self) -> tuple[np.ndarray, np.ndarray]:
        """The sweep's own attack, anew: adversarials and whether each image stands."""
        return self.under(self.setting.name, outputs=self.setting.outputs)

    def under(
        self, name: str, *, epsilon: float | None = None, replicas: Replicas | None = None,
        **changes: object,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Adversarials of an attack with changed settings, and whether each image stands.

        On the logits unless said otherwise: the others doubt an attack through the softmax, too.
        They are made on `replicas`, if given, and judged by the subject's own model.
        Images wrong from the start are left as they are and do not stand. Of several restarts the
        first that succeeds counts.
        """
        plain = on_logits(self.setting)
        setting = dataclasses.replace(plain, name=name, **changes)  # type: ignore[arg-type]
        attack = make(replicas or self.replicas, setting, self.experiment.seed)
        images, stands = self.images.copy(), self.right.copy()
        epsilon = self.epsilon if epsilon is None else epsilon
        radius = np.inf if ATTACKS[name].kind == "minimal" else epsilon
        for restart in range(setting.restarts):
            todo = np.flatnonzero(stands)
            if not len(todo):
                break
            adversarials = self._made(attack, todo, radius, restart)
            wrong = self.classes(adversarials) != self.labels[todo]
            most = epsilon + TOLERANCE * max(1, epsilon)
            near = norms(adversarials - self.images[todo])[ATTACKS[name].norm] <= most
            images[todo[near]] = adversarials[near]
            stands[todo[wrong & near]] = False
        return images, stands

    def _made(self, attack: Attack, todo: np.ndarray, radius: float, restart: int) -> np.ndarray:
        """What an attack makes of the images at these places."""
        size = self.replicas.batch(self.setting.batch_size)
        if isinstance(attack, Pooled):
            items = (Item(place, self.images[row], int(self.labels[row]), self.ids[row])
                     for place, row in enumerate(todo))  # fmt: skip
            done = {each.item.position: each.adversarial
                    for each in attack.stream(items, size, radius, restart)}  # fmt: skip
            return np.stack([done[place] for place in range(len(todo))])
        made = []
        for (part, number), (labels, _), (rows, _) in zip(
            self.batches(self.images[todo]), self.batches(self.labels[todo]), self.batches(todo),
            strict=True,
        ):  # fmt: skip
            ids = [self.ids[row] for row in rows]
            found, _ = attack(tf.constant(part), tf.constant(labels), ids, radius, restart)
            made.append(np.asarray(found)[:number])
        return np.concatenate(made)


def accuracy(state: Mapping[str, np.ndarray]) -> float:
    """Share of images that stand, from a file of the sweep."""
    return float((state["logits"].argmax(axis=1) == state["label"]).mean())
