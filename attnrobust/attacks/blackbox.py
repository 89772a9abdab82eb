"""BLACK BOX: a paper's attacks on each model, as they are found, and noise as visible as these.

Unlike `attacks/transfer.py`, which takes nothing but adversarials of full strength, an attack that
looks for the least perturbation is taken here, too: its adversarials stop at the border of the
model that they were made on. That is a reading of a paper, never the default, and named so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, task
from attnrobust.attacks import checks, judging, similarity
from attnrobust.attacks.methods import row_of, settled, untargeted
from attnrobust.attacks.outputs import make, require_plain
from attnrobust.attacks.transfer import in_full
from attnrobust.console import progress
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")

IN_FULL, AS_FOUND = "in full", "as found"


@dataclass(frozen=True)
class Judges:
    """Models, each with the images that it sees.

    Attributes:
        models: By name, over the same classes.
        data: What each reads, by name: image sizes may differ.
        dataset: Records.
        batch_size: Images in one pass.
    """

    models: Mapping[str, Replicas]
    data: Mapping[str, config.Data]
    dataset: Dataset
    batch_size: int

    def batches(self, name: str) -> tuple[int, tf.data.Dataset]:
        """Rows of a padded batch for a model, and its batches of the test split."""
        size = self.models[name].batch(self.batch_size)
        batches = inputs.evaluation_batches(
            self.dataset, "test", data=self.data[name], batch_size=size
        )
        return size, batches

    def logits(self, name: str, images: np.ndarray) -> np.ndarray:
        """What a model sees in images of any size, resized to its own: (N, classes).

        N is a multiple of its replicas.

        Raises:
            UserError: They are not finite.
        """
        size = self.data[name].image_size
        if images.shape[1] != size:
            resized = tf.image.resize(images, (size, size), antialias=True)
            images = np.clip(resized.numpy(), 0, 1)
        return judging.judged(self.models[name], images, len(images))

    def embedded(self, name: str, images: np.ndarray) -> np.ndarray:
        """What a model's last dense layer receives of images of its own size: (N, D)."""
        replicas = self.models[name]

        def embedding() -> Any:
            model = replicas.model
            dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
            last = dense[-1] if dense else model.get_layer("logits")
            with replicas.strategy.scope():
                below = keras.Model(model.input, keras.layers.Flatten()(last.input))
            return replicas.map(lambda images: below(images, training=False))

        return np.asarray(replicas.once("embedding", embedding)(images))


def reading(setting: config.Attack) -> str:
    """Whether an attack's adversarials are of full strength or stop at their model's border."""
    return IN_FULL if row_of(setting).in_full else AS_FOUND


def as_found(setting: config.Attack) -> config.Attack:
    """The settings under which an attack's adversarials are taken, of full strength where it can.

    Raises:
        UserError: It goes for one class, or through a softmax; several radii for one that looks
            inside a ball.
    """
    if reading(setting) == IN_FULL:
        if row_of(setting).kind == "fixed" and len(setting.epsilons) > 1:
            listed = ", ".join(f"{each:g}" for each in setting.epsilons)
            raise UserError(
                f"attack.epsilons = {listed}: expected one for {setting.name} in a paper's tables "
                "(--set attack.epsilons=1.5/255)"
            )
        return in_full(setting)
    checks.settings(setting)
    untargeted(setting, "transfer")
    require_plain(setting, "transfer")
    return settled(setting)


def clean(judges: Judges, place: Path) -> None:
    """Write what every model sees without an attack, unless it is there.

    Arrays: id, label, group, and for each model `logits-<name>` (N, K), `embedding-<name>` (N, D);
    of models that segment `prediction-<name>` (N, H, W) alone.
    """
    if place.exists():
        return
    kept: dict[str, np.ndarray] = {}
    for name in judges.models:
        size, batches = judges.batches(name)
        found: list[dict[str, np.ndarray]] = []
        for batch in batches.as_numpy_iterator():
            images = Replicas.padded(batch["image"], size)
            row = _answers(judges, name, images)
            if judges.dataset.kind == "classify":
                row[f"embedding-{name}"] = judges.embedded(name, images)
            found.append(
                _named(batch) | {key: each[: len(batch["id"])] for key, each in row.items()}
            )
        kept |= _joined(found)
    runs.save_npz(place, **kept)


def craft(
    source: str,
    head: str,
    setting: config.Attack,
    judges: Judges,
    place: Path,
    *,
    seed: int,
    samples: Sequence[str],
    noise: similarity.Noise = similarity.GAUSSIAN,
) -> None:
    """Attack the test split on one model, make its noisy twin, and ask all models what they see.

    The twin of an adversarial is its image under noise, with the same SSIM. Images that
    the model has wrong are attacked like all others where the attack does so.

    Writes, unless it is there: id, label, group; for each model `logits-<name>` and
    `noisy-<name>` (N, K); `ssim` and `noisy_ssim`, `linf` and `l2` of the adversarials (N,);
    `embedding` and `noisy_embedding` (N, D) of the source; of the samples `sample_id`,
    `sample_clean`, `sample_image`, `sample_noisy`. Of models that segment there are no embeddings,
    and class maps (N, H, W), `prediction-<name>` and `noisy-<name>`.

    Args:
        source: The model that is attacked.
        head: What the paper calls the attack.
        setting: As `as_found` gives it.
        judges: All models, the source among them.
        place: The file.
        seed: Of attack and noise.
        samples: Ids of images that are kept.
        noise: Of the twins; Gaussian in place of Rician where images have colours.
    """
    if place.exists():
        log.info("%s on %s: done before, kept", head, source)
        return
    attack = make(judges.models[source], setting, seed)
    minimal = row_of(setting).kind == "minimal"
    epsilon = float("inf") if minimal else setting.epsilons[-1]
    size, batches = judges.batches(source)
    found = []
    with progress(desc=f"{head} on {source}", unit="image") as bar:
        for batch in batches.as_numpy_iterator():
            named, number = _named(batch), len(batch["id"])
            ids = [*named["id"], *[named["id"][0]] * (size - number)]
            images, labels = (Replicas.padded(batch[key], size) for key in ("image", "label"))
            made, _ = attack(tf.constant(images), tf.constant(labels), ids, epsilon, 0)
            key = (seed, source, head)
            seen = _seen(judges, source, images, np.asarray(made), ids=ids, key=key, noise=noise)
            row = {**named, **{name: each[:number] for name, each in seen.items()}}
            shown = np.isin(named["id"], list(samples))
            for name in [name for name in row if name.startswith("sample_")]:
                row[name] = row[name][shown]
            found.append({**row, "sample_id": named["id"][shown]})
            bar.update(number)
    runs.save_npz(place, **_joined(found))


def _seen(
    judges: Judges,
    source: str,
    images: np.ndarray,
    made: np.ndarray,
    *,
    ids: Sequence[str],
    key: object,
    noise: similarity.Noise,
) -> dict[str, np.ndarray]:
    """What all models see in adversarials (N, H, W, 3) and their noisy twins, and how alike."""
    alike = similarity.ssim(images, made)
    # A paper's Rician noise is that of magnetic resonance; a photograph has none.
    noise = similarity.fitting(images) if noise is similarity.RICIAN else noise
    noisy, reached = similarity.matched_noise(images, alike, ids, key=key, noise=noise)
    sizes = checks.norms(made - images)
    row = {"ssim": alike, "noisy_ssim": reached, "linf": sizes["linf"], "l2": sizes["l2"]}
    for name in judges.models:
        row |= _answers(judges, name, made)
        (row[f"noisy-{name}"],) = _answers(judges, name, noisy).values()
    if judges.dataset.kind == "classify":
        row["embedding"] = judges.embedded(source, made)
        row["noisy_embedding"] = judges.embedded(source, noisy)
    return {**row, "sample_clean": images, "sample_image": made, "sample_noisy": noisy}


def _answers(judges: Judges, name: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """What a file keeps of what a model sees: `<scores>-<name>`."""
    kept = task.kept(judges.logits(name, images))
    return {f"{scores}-{name}": values for scores, values in kept.items()}


def _named(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    words = {name: np.array([each.decode() for each in batch[name]]) for name in ("id", "group")}
    return {**words, "label": task.kept_labels(batch["label"])}


def _joined(found: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
