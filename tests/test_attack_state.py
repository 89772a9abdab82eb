"""The state of a sweep: who stands, and what a new adversarial replaces; by hand."""

from __future__ import annotations

import numpy as np
import pytest

from attnrobust.attacks import state
from attnrobust.attacks.loader import Attacked
from attnrobust.disk import runs
from attnrobust.errors import UserError

LABELS = np.array([0, 1, 2, 2])
SAMPLES = np.array([3, 0])


@pytest.fixture
def images():
    """Of class 0 all that the model sees: the first is right, the others are wrong."""
    return {
        "id": np.array(list("abcd")),
        "label": LABELS,
        "logits": np.tile(np.array([[2.0, 1.0, 0.0]], np.float32), (4, 1)),
        **dict.fromkeys(("linf", "l2", "l0"), np.zeros(4, np.float32)),
        "queries": np.zeros(4, np.int64),
        "sample_id": np.array(list("da")),
        "sample_image": np.zeros((2, 1, 1, 3), np.float32),
    }


def test_what_is_wrong_stands_only_for_an_attack_that_aims_elsewhere(images):
    np.testing.assert_array_equal(state.standing(images, None), [True, False, False, False])
    np.testing.assert_array_equal(state.standing(images, 1), [True, True, True, True])
    np.testing.assert_array_equal(state.standing(images, 0), [False] * 4)
    np.testing.assert_array_equal(state.reached(images, 1, np.array([0, 2])), [0, 1])


def test_what_is_better_replaces_what_was_there_and_all_is_paid_for(images):
    images = {name: array.copy() for name, array in images.items()}
    made = Attacked(
        positions=np.array([3, 1]),
        images=np.zeros((2, 1, 1, 3), np.float32),
        adversarials=np.stack([np.full((1, 1, 3), value, np.float32) for value in (0.3, 0.1)]),
        queries=np.array([7, 5]),
        stopped=np.array([True, True]),
    )
    found = {
        "logits": np.array([[0, 0, 9], [0, 9, 0]], np.float32),
        "linf": np.array([0.3, 0.1], np.float32),
    }
    state.update(images, made, found, np.array([True, False]), SAMPLES)
    np.testing.assert_array_equal(images["queries"], [0, 5, 0, 7])
    np.testing.assert_array_equal(images["linf"], np.array([0, 0, 0, 0.3], np.float32))
    np.testing.assert_array_equal(images["logits"][3], [0, 0, 9])
    np.testing.assert_array_equal(images["logits"][1], [2, 1, 0])
    np.testing.assert_array_equal(images["sample_image"][:, 0, 0, 0], np.float32([0.3, 0]))


def test_a_file_of_other_images_is_refused(images, tmp_path):
    place = tmp_path / "linf_pgd-0.1.npz"
    runs.save_npz(place, **images)
    found = state.load(place, LABELS, SAMPLES)
    np.testing.assert_array_equal(found["logits"], images["logits"])
    with pytest.raises(UserError, match="other images than in the records"):
        state.load(place, LABELS[::-1], SAMPLES)
    with pytest.raises(UserError, match="other images than in the records"):
        state.load(place, LABELS, SAMPLES[:1])
