"""Batches that cannot fit are refused before they kill the process."""

from __future__ import annotations

import pytest
from tensorflow import keras

from attnrobust.errors import UserError
from attnrobust.models import memory


@pytest.fixture
def model() -> keras.Model:
    image = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.layers.Input((8, 8, 4)), keras.layers.ReLU()])
    return keras.Model(image, keras.layers.Flatten()(inner(keras.layers.Conv2D(4, 1)(image))))


def test_activations_are_the_bytes_of_all_outputs(model: keras.Model) -> None:
    # Image 192 floats, convolution 256, inside the inner model ReLU 256, flatten 256.
    assert memory.activations(model) == 4 * (192 + 256 + 256 + 256)


def test_a_batch_that_cannot_fit_is_refused_by_name(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1_920_000)
    memory.require(model, 1000, "training.batch_size")
    with pytest.raises(UserError, match=r"training\.batch_size = 2000: needs at least 0\.0 GB"):
        memory.require(model, 2000, "training.batch_size")
    with pytest.raises(UserError, match=r"1000: needs at least .* try 250 or fewer"):
        memory.require(model, 1000, "training.batch_size", passes=2)
    monkeypatch.setattr(memory, "available", lambda: None)
    memory.require(model, 10**12, "training.batch_size")


def test_this_machine_says_what_is_free() -> None:
    free = memory.available()
    assert free is None or 1e7 < free < 1e14
