"""What an epoch is judged by: the validation split, in float32 whatever training computes in."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.models import precision
from attnrobust.training import batchnorm, inner
from attnrobust.training.adversarial import Adversarial
from attnrobust.training.strategy import whole_files


class Validation:
    """Judges a model that learns.

    In half precision PGD comes less far, and logits are rounded: a model would look more robust
    than the one whose weights are kept, which every later stage runs in float32.

    Args:
        model: That learns.
        judge: The same network, method and loss in float32; the model itself where it is that.
        batches: Of `validation_batches`.
    """

    def __init__(self, model: keras.Model, judge: keras.Model, batches: tf.data.Dataset) -> None:
        self.model, self.judge, self.batches = model, judge, batches

    def judged(self) -> dict[str, float]:
        """The model's numbers by name, such as `val_loss`; levels its BatchNorm averages."""
        batchnorm.level(self.model)
        if self.judge is not self.model:
            self.judge.set_weights(self.model.get_weights())
        with precision.whole_float_32():
            found = self.judge.evaluate(self.batches, verbose=0, return_dict=True)
        return {f"val_{name}": float(value) for name, value in found.items()}


def validation_batches(
    model: keras.Model, experiment: config.Experiment, dataset: Dataset
) -> tf.data.Dataset:
    """Batches of (image, label), with random starts where a method attacks."""
    setting = experiment.training
    batches = inputs.evaluation_batches(
        dataset, "validation", data=experiment.data, batch_size=setting.batch_size
    ).map(lambda batch: (batch["image"], batch["label"]))
    if isinstance(model, Adversarial):
        if setting.validation_share < 1:
            batches = _thinned(batches.unbatch(), setting.validation_share)
            batches = batches.batch(setting.batch_size)
        batches = inner.starts(
            batches,
            setting.inner_norm,
            setting.inner_epsilon,
            (experiment.seed, -1),
            gaussian=False,
        )
    return batches.with_options(whole_files())


def _thinned(examples: tf.data.Dataset, share: float) -> tf.data.Dataset:
    """The first example, and as many others evenly spread as the share asks for."""

    def step(index: tf.Tensor) -> tf.Tensor:
        return tf.floor(tf.cast(index, tf.float64) * share)

    kept = examples.enumerate().filter(lambda index, _: step(index) > step(index - 1))
    return kept.map(lambda _, pair: pair)
