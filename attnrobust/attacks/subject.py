"""Part of a test split under one model, attacked again in other ways than its sweep did."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from attnrobust import config, task
from attnrobust.attacks import judging, loader
from attnrobust.attacks.checks import TOLERANCE, norms
from attnrobust.attacks.methods import ATTACKS, of_another, settled, untargeted
from attnrobust.attacks.outputs import make, on_logits
from attnrobust.attacks.pool import Item
from attnrobust.attacks.row import Attack
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.disk import runs, schemas
from attnrobust.models.replicas import Replicas

# Robust accuracies that differ by no more are of one plateau.
FLAT = 0.01


def swept(
    experiment: config.Experiment, dataset: Dataset, folder: Path
) -> tuple[dict[float, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """A sweep's arrays by epsilon, and the examples, at most `checks.samples`, to attack again."""
    name = experiment.attack.name
    files = {
        epsilon: schemas.load_npz(folder / runs.attack_file(name, epsilon), schemas.ATTACKED)
        for epsilon in (0.0, *experiment.attack.epsilons)
    }
    every = [str(id_) for id_ in files[0.0]["id"]]
    number = min(experiment.checks.samples, len(every))
    chosen = np.sort(np.random.default_rng(experiment.seed).permutation(len(every))[:number])
    examples = inputs.read(dataset, "test", [every[i] for i in chosen], data=experiment.data)
    return files, examples


class Subject:
    """A model, part of the test split, and the sweep that is doubted.

    Args:
        experiment: The attack's settings, as the sweep was made; how hard the checks look; seed.
        replicas: The model.
        files: The sweep's arrays by epsilon, the clean condition under 0.
        examples: `id`, `image`, `label` of the images that are attacked again.
        surrogate: Another model of the same records, if there is one: name and how to get it.

    Attributes:
        epsilon: Where robust accuracy is nearest to half the clean one; of a plateau its end.
        images: (n, H, W, 3) float32 in [0, 1]; with labels (n,) and ids.
        right: (n,) whether the model is right without an attack.
        slack: What a comparison may be off: a hundredth, or one image where that is more.

    Raises:
        UserError: The sweep aimed at a class.
    """

    def __init__(
        self,
        experiment: config.Experiment,
        replicas: Replicas,
        files: Mapping[float, dict[str, np.ndarray]],
        examples: Mapping[str, np.ndarray],
        surrogate: tuple[str, Callable[[], Replicas]] | None = None,
    ) -> None:
        self.experiment, self.replicas = experiment, replicas
        self.setting = settled(experiment.attack)
        untargeted(self.setting, "check")
        self.surrogate = surrogate
        self.norm = ATTACKS[self.setting.name].norm
        self.files = dict(files)
        self.epsilon = self._telling()
        self.images, self.labels = examples["image"], examples["label"]
        self.ids = [str(id_) for id_ in examples["id"]]
        self.clean = self.logits(self.images)
        self.right = task.right(self.clean, self.labels)
        self.slack = max(0.01, 1 / len(self.ids))

    @classmethod
    def of_sweep(
        cls,
        experiment: config.Experiment,
        dataset: Dataset,
        replicas: Replicas,
        folder: Path,
        surrogate: tuple[str, Callable[[], Replicas]] | None = None,
    ) -> Subject:
        """The sweep that was written to `folder`, with at most `checks.samples` of its images."""
        return cls(experiment, replicas, *swept(experiment, dataset, folder), surrogate)

    def found(self, epsilon: float) -> np.ndarray:
        """Logits (n, K) that the sweep found for these images."""
        state = self.files[epsilon]
        rows = {str(id_): row for row, id_ in enumerate(state["id"])}
        return np.asarray(state["logits"][[rows[id_] for id_ in self.ids]])

    @property
    def left(self) -> np.ndarray:
        """(n,) whether the sweep left the image standing."""
        return np.asarray(self.right & task.right(self.found(self.epsilon), self.labels))

    @property
    def shares(self) -> dict[float, float]:
        """Share of the test split that is right without the attack and at each epsilon."""
        right = task.right_in(self.files[0.0])
        return {
            epsilon: float((right & task.right_in(state)).mean())
            for epsilon, state in self.files.items()
        }

    def _telling(self) -> float:
        """The epsilon at which most is left to decide.

        Where robust accuracy no longer falls, the largest: other attacks find most in its ball.
        """
        share = self.shares
        near = min(self.setting.epsilons, key=lambda e: abs(share[e] - share[0.0] / 2))
        alike = (e for e in self.setting.epsilons if share[e] > 0 and share[near] - share[e] < FLAT)
        return max((near, *alike))

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logits of images (n, H, W, 3), in padded batches."""
        return np.concatenate(
            [self.replicas.forward(full).numpy()[:number] for full, number in self.batches(images)]
        )

    def batches(self, rows: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Rows in padded batches, each with the number that are real."""
        size = self.replicas.batch(self.setting.batch_size)
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [(self.replicas.padded(part, size), len(part)) for part in parts]

    def stands(self, images: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Whether the model is right (n,) on images in place of those of these rows."""
        return task.right(self.logits(images), self.labels[rows])

    @functools.cached_property
    def attacked(self) -> tuple[np.ndarray, np.ndarray]:
        """The sweep's own attack, anew: adversarials and whether each image stands."""
        return self.under(self.setting.name, outputs=self.setting.outputs)

    def under(
        self,
        name: str,
        *,
        epsilon: float | None = None,
        replicas: Replicas | None = None,
        todo: np.ndarray | None = None,
        first: int = 0,
        **changes: object,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Adversarials of an attack with changed settings, and whether each image stands.

        On the logits unless said otherwise: the others doubt an attack through the softmax, too.
        They are made on `replicas`, if given, and judged by the subject's own model; what left
        the attack early, but is judged right, is attacked on, as in the sweep. Of several restarts
        the first that succeeds counts. Images that are not attacked are given back as they are and
        do not stand.

        Args:
            name: Of the attack.
            epsilon: Radius; that of the subject if None.
            replicas: The model that is attacked; the subject's own if None.
            todo: (n,) Which images are attacked; those that are right if None.
            first: Number of the first restart: none shares its start with those before.
            changes: Settings; others that belong to another row are that row's own.
        """
        setting = of_another(on_logits(self.setting), name, **changes)
        row = ATTACKS[name]
        basis = (replicas or self.replicas, setting, self.experiment.seed)
        attack = make(*basis)
        images, stands = self.images.copy(), (self.right if todo is None else todo).copy()
        epsilon = self.epsilon if epsilon is None else epsilon
        radius = np.inf if row.kind == "minimal" else epsilon
        for restart in range(first, first + setting.restarts):
            rows = np.flatnonzero(stands)
            if not len(rows):
                break
            adversarials, stopped = self._made(attack, rows, radius, restart)
            wrong = ~self.stands(adversarials, rows)
            again = np.flatnonzero(~wrong & stopped)
            full = judging.in_full(*basis) if len(again) else None
            if full is not None:
                adversarials[again], _ = self._made(full, rows[again], radius, restart)
                wrong = ~self.stands(adversarials, rows)
            most = epsilon + TOLERANCE * max(1, epsilon)
            near = norms(adversarials - self.images[rows])[row.norm] <= most
            # What looks for the nearest may find one that is too far; else all is to be seen.
            kept = near | (row.kind != "minimal")
            images[rows[kept]] = adversarials[kept]
            stands[rows[wrong & near]] = False
        return images, stands

    def _made(
        self, attack: Attack, todo: np.ndarray, radius: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """What an attack makes of the images at these places, and which of them left it early."""
        items = (
            Item(place, self.images[row], self.labels[row], self.ids[row])
            for place, row in enumerate(todo)
        )
        size = self.replicas.batch(self.setting.batch_size)
        parts = list(loader.attacked(attack, items, size, radius, restart))
        order = np.argsort(np.concatenate([part.positions for part in parts]))
        made, stopped = (
            np.concatenate([getattr(part, name) for part in parts])[order]
            for name in ("adversarials", "stopped")
        )
        return made, stopped
