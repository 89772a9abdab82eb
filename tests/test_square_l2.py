"""The Square attack in L2: what it finds, spends, and must not depend on."""

from __future__ import annotations

import attack_helpers as helpers
import numpy as np
import pytest

from attnrobust.attacks import square_l2


@pytest.fixture(scope="module")
def problem():
    """A linear model, images, labels, and the exact L2 distance of each from the border."""
    model, images = helpers.linear(2), 0.3 + 0.4 * helpers.noise(24)
    weights = model.layers[-1].get_weights()[0]
    gap = np.abs(np.diff(model(images).numpy(), axis=1))[:, 0]
    radius = gap / np.linalg.norm(weights[:, 1] - weights[:, 0])
    return model, images, helpers.predicted(model, images), radius


def attacked(model, images, labels, epsilon, **settings):
    """Adversarials and who fell; every perturbation inside its ball."""
    made, fell, queries = helpers.run(
        square_l2.square_l2, model, images, labels, epsilon, **settings
    )
    length = np.linalg.norm((made - images).reshape(len(images), -1).astype(float), axis=1)
    assert length.max() <= epsilon + 1e-6
    return made, fell, queries, length


def test_it_finds_what_is_well_inside_the_ball_and_nothing_else(problem):
    *basis, radius = problem
    epsilon = float(np.median(radius)) * 2
    _, fell, queries, length = attacked(*basis, epsilon, queries=400)
    assert fell[radius < 0.4 * epsilon].all()
    assert not fell[radius > epsilon].any()
    assert (queries[~fell] == 401).all()
    assert (queries[fell] < 401).any()
    np.testing.assert_allclose(length, epsilon, rtol=1e-5)


def test_an_image_does_not_depend_on_its_neighbours(problem):
    model, images, labels, radius = problem
    epsilon = float(np.median(radius))
    made, *_ = attacked(model, images, labels, epsilon, queries=20)
    some = [5, 2, 11]
    alone, *_ = attacked(
        model, images[some], labels[some], epsilon, queries=20, ids=[f"image-{i}" for i in some]
    )
    np.testing.assert_allclose(alone, made[some], atol=1e-6)
    other, *_ = attacked(model, images, labels, epsilon, queries=20, restart=1)
    assert np.abs(other - made).max() > 1e-3


def test_windows_by_hand():
    assert [square_l2.window(query, 10_000, 32, 32) for query in (0, 11, 9000)] == [11, 7, 3]
    assert square_l2.window(0, 10, 2, 2) == 2, "no larger than the image"
    bump = square_l2._bump(4, turned=False)
    assert np.linalg.norm(bump) == pytest.approx(1)
    np.testing.assert_allclose(bump[:2], -bump[2:])
    np.testing.assert_allclose(square_l2._bump(4, turned=True), bump.T)
