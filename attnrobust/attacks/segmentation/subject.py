"""Part of a test split under one segmenter, attacked again in other ways than its sweep did."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from attnrobust import config, task
from attnrobust.attacks import loader
from attnrobust.attacks.methods import EVERY, of_another, settled
from attnrobust.attacks.outputs import make
from attnrobust.attacks.pool import Item
from attnrobust.attacks.subject import swept
from attnrobust.data.records import Dataset
from attnrobust.models.replicas import Replicas


class Subject:
    """A segmenter, part of the test split, and the sweep that is doubted.

    Args:
        experiment: The attack's settings, as the sweep was made; how hard the checks look; seed.
        replicas: The model.
        files: The sweep's arrays by epsilon, the clean condition under 0.
        examples: `id`, `image`, `label` of the images that are attacked again.
        surrogate: Another model of the same records, if there is one: name and how to get it.

    Attributes:
        epsilon: Where the mean Dice is nearest to half the clean one.
        images: (n, H, W, 3) float32 in [0, 1]; with labels (n, H, W) and ids.
        clean: Dice without an attack (n,).
        left: Dice that the sweep left at `epsilon` (n,).
        slack: What a comparison of mean Dice may be off.
    """

    slack = 0.01
    norm = "linf"

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
        self.surrogate = surrogate
        self.files = dict(files)
        shares = self.shares
        self.epsilon = min(self.setting.epsilons, key=lambda e: abs(shares[e] - shares[0.0] / 2))
        self.images, self.labels = examples["image"], examples["label"]
        self.ids = [str(id_) for id_ in examples["id"]]
        self.clean = self.score(self.images)
        rows = {str(id_): row for row, id_ in enumerate(files[self.epsilon]["id"])}
        self.places = [rows[id_] for id_ in self.ids]
        self.left = np.minimum(self.clean, task.score_in(files[self.epsilon])[self.places])

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

    @property
    def shares(self) -> dict[float, float]:
        """Mean Dice of the test split without the attack and at each epsilon."""
        return {
            epsilon: float(task.score_in(state).mean()) for epsilon, state in self.files.items()
        }

    def batches(self, *rows: np.ndarray) -> list[tuple[list[np.ndarray], int]]:
        """Rows in padded batches, each with the number that are real."""
        size = self.replicas.batch(self.setting.batch_size)
        starts = range(0, len(rows[0]), size)
        parts = [[row[start : start + size] for row in rows] for start in starts]
        return [([self.replicas.padded(each, size) for each in p], len(p[0])) for p in parts]

    def logits(self, images: np.ndarray) -> list[np.ndarray]:
        """Logits of images, a batch at a time, without the padding."""
        parts = self.batches(images)
        return [self.replicas.forward(full).numpy()[:number] for (full,), number in parts]

    def maps(self, images: np.ndarray) -> np.ndarray:
        """Predicted class maps (n, H, W)."""
        return np.concatenate([task.predict(part) for part in self.logits(images)])

    def score(self, images: np.ndarray) -> np.ndarray:
        """Mean Dice (n,) of images in place of the subject's."""
        return task.score(self.maps(images).astype(np.uint8), self.labels)

    @functools.cached_property
    def attacked(self) -> tuple[np.ndarray, np.ndarray]:
        """The sweep's own attack, anew: adversarials and their Dice."""
        return self.under(self.setting.name)

    def under(
        self,
        name: str,
        *,
        epsilon: float | None = None,
        replicas: Replicas | None = None,
        first: int = 0,
        **changes: object,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Adversarials of an attack with changed settings, and the Dice of each, judged here.

        Of several restarts the worst counts, and the image itself where nothing is worse.

        Args:
            name: Of the attack.
            epsilon: Radius; that of the subject if None.
            replicas: The model that is attacked; the subject's own if None.
            first: Number of the first restart: none shares its start with those before.
            changes: Settings; others that belong to another row are that row's own.
        """
        setting = of_another(self.setting, name, **changes)
        attack = make(replicas or self.replicas, setting, self.experiment.seed)
        radius = self.epsilon if epsilon is None else epsilon
        images, worst = self.images.copy(), self.clean.copy()
        for restart in range(first, first + EVERY[name].starts_of(setting)):
            items = (
                Item(place, *row)
                for place, row in enumerate(zip(self.images, self.labels, self.ids, strict=True))
            )
            size = self.replicas.batch(self.setting.batch_size)
            made = np.empty_like(images)
            for part in loader.attacked(attack, items, size, radius, restart):
                made[part.positions] = part.adversarials
            score = self.score(made)
            images[score < worst] = made[score < worst]
            worst = np.minimum(worst, score)
        return images, worst
