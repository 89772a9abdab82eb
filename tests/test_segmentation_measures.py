"""Measures of segmented images, by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import surface_distance
from sklearn.metrics import jaccard_score

from attnrobust import task
from attnrobust.measures import segmentation
from attnrobust.measures.segmentation import SEGMENTATION_METRICS

PIXELS = (1.0, 1.0)
# DeepMind's package takes functions of SciPy by their former names.
former_names = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")


def measured(
    name: str, found: np.ndarray, labels: np.ndarray, classes: int = 2, side: float = 1.0
) -> np.ndarray:
    sides = np.full(len(labels), side)
    return SEGMENTATION_METRICS[name].function(found, labels, classes, sides)


def squares(*corners: int, side: int = 4, size: int = 16) -> np.ndarray:
    """Maps of one square of class 1 each, at row 4 and these columns."""
    made = np.zeros((len(corners), size, size), np.uint8)
    for one, corner in zip(made, corners, strict=True):
        one[4 : 4 + side, corner : corner + side] = 1
    return made


def test_overlap_of_a_shifted_square_by_hand():
    """Moved by one column, 12 of 16 pixels are in common."""
    found, labels = squares(5), squares(4)
    assert measured("dice", found, labels)[0, 1] == pytest.approx(2 * 12 / 32)
    assert measured("iou", found, labels)[0, 1] == pytest.approx(12 / 20)


def test_outlines_of_a_shifted_square_by_hand():
    """Moved by two columns: outlines of 12 points, the inner 2 x 2 being none of them.

    Of the true outline the left column (4 points) is 2 away, the points (top, 5) and (bottom, 5)
    are 1, (top, 6), (bottom, 6), and the corners at the right 0, the two points inside the right
    column 1, being beside the top row's or the bottom row's.
    """
    found, labels = squares(6), squares(4)
    one, other = segmentation.distances(labels[0] == 1, found[0] == 1, PIXELS)
    assert sorted(one) == [0] * 4 + [1] * 4 + [2] * 4
    assert sorted(other) == sorted(one)
    assert measured("surface_dice", found, labels)[0, 1] == pytest.approx(8 / 12)
    assert measured("hd95", found, labels)[0, 1] == pytest.approx(2)


def test_distances_are_in_units_of_the_spacing():
    """Two columns apart: 2 pixels are 0.5 mm of small ones, of which all lie within 1 mm."""
    found, labels = squares(6), squares(4)
    one, _ = segmentation.distances(labels[0] == 1, found[0] == 1, (1.0, 0.25))
    assert sorted(one) == [0] * 4 + [0.25] * 4 + [0.5] * 4
    assert measured("hd95", found, labels, side=0.25)[0, 1] == pytest.approx(0.5)
    assert measured("surface_dice", found, labels, side=0.25)[0, 1] == 1
    assert measured("hd95", found, labels, side=3.0)[0, 1] == pytest.approx(6)
    assert measured("surface_dice", found, labels, side=3.0)[0, 1] == pytest.approx(4 / 12)
    missed = measured("hd95", squares(4) * 0, labels, side=3.0)[0, 1]
    assert missed == pytest.approx(3 * math.hypot(16, 16))


def test_each_image_has_pixels_of_its_own():
    found, labels = squares(6, 6), squares(4, 4)
    far = segmentation.hausdorff(found, labels, 2, np.array([0.5, 2.0]))
    assert far[:, 1] == pytest.approx([1, 4])


def test_pixels_are_in_mm_where_a_file_knows_it():
    known = {"label": np.zeros((2, 4, 4)), "pixel": np.array([0.5, 2.0])}
    assert segmentation.Pixels.of(known).unit == "mm"
    assert segmentation.Pixels.of(known).sides.tolist() == [0.5, 2.0]
    sides, unit = segmentation.Pixels.of({"label": known["label"]})
    assert (sides.tolist(), unit) == ([1, 1], "px")
    names = {unit: SEGMENTATION_METRICS["hd95"].named("hd95", unit) for unit in ("mm", "px")}
    assert names == {"mm": "hd95_mm", "px": "hd95_px"}
    assert SEGMENTATION_METRICS["dice"].named("dice", "mm") == "dice"


@former_names
@pytest.mark.parametrize("shift", [1, 2, 3])
@pytest.mark.parametrize("side", [0.5, 1.0, 1.7])
def test_squares_against_deepmind(shift: int, side: float):
    """Straight sides, which its outlines between the pixels and ours on them move alike."""
    labels, found = squares(3, side=6, size=24), squares(3 + shift, side=6, size=24)
    theirs = surface_distance.compute_surface_distances(labels[0] == 1, found[0] == 1, [side] * 2)
    far = surface_distance.compute_robust_hausdorff(theirs, 95)
    assert measured("hd95", found, labels, side=side)[0, 1] == pytest.approx(far)
    assert far == pytest.approx(shift * side)


@former_names
def test_blobs_against_deepmind():
    """Theirs lie between the pixels: no distance differs by more than the diagonal of one."""
    rng, side = np.random.default_rng(0), 1.3
    y, x = np.mgrid[:40, :40]
    for _ in range(20):
        (a, b), (c, d) = rng.uniform(14, 26, (2, 2))
        radii = rng.uniform(5, 10, 4)
        one = ((y - a) / radii[0]) ** 2 + ((x - b) / radii[1]) ** 2 < 1
        two = ((y - c) / radii[2]) ** 2 + ((x - d) / radii[3]) ** 2 < 1
        theirs = surface_distance.compute_surface_distances(one, two, [side, side])
        far = surface_distance.compute_robust_hausdorff(theirs, 95)
        ours = measured("hd95", two[None].astype(int), one[None].astype(int), side=side)[0, 1]
        assert ours == pytest.approx(far, abs=side * math.sqrt(2))


def test_distances_in_a_volume():
    one, other = np.zeros((2, 5, 5, 5), bool)
    one[1, 2, 2] = other[3, 2, 2] = True
    there, back = segmentation.distances(one, other, (2.5, 1, 1))
    assert there.tolist() == back.tolist() == [5]


def test_classes_that_are_not_there():
    labels, nothing = squares(4), squares(4) * 0
    missed = {name: measured(name, nothing, labels)[0, 1] for name in SEGMENTATION_METRICS}
    longest = math.hypot(16, 16)
    zeros = dict.fromkeys(("dice", "dice_strict", "iou", "surface_dice"), 0)
    assert missed == pytest.approx({**zeros, "hd95": longest})
    alarm = {name: measured(name, labels, nothing)[0, 1] for name in SEGMENTATION_METRICS}
    assert alarm.pop("dice_strict") == 0
    assert np.isnan(list(alarm.values())).all()
    for name in SEGMENTATION_METRICS:
        assert np.isnan(measured(name, nothing, nothing)[0, 1])


def test_an_image_is_the_mean_of_its_structures():
    each = np.array([[0.9, 0.5, np.nan, 0.7], [0.8, np.nan, np.nan, np.nan]])
    assert segmentation.of_images(each) == pytest.approx([0.6, 0.8])


def random_maps(seed: int, number: int = 30, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=(number, 6, 6)).astype(np.uint8)
    other = rng.integers(classes, size=labels.shape)
    return np.where(rng.random(labels.shape) < 0.4, other, labels).astype(np.uint8), labels


def test_against_other_implementations():
    found, labels = random_maps(0)
    each = measured("dice", found, labels, 4)
    np.testing.assert_allclose(segmentation.of_images(each), task.score(found, labels))
    ious = measured("iou", found, labels, 4)
    for one, true, row in zip(found, labels, ious, strict=True):
        other = jaccard_score(true.ravel(), one.ravel(), labels=range(4), average=None)
        assert row[np.unique(true)] == pytest.approx(other[np.unique(true)])


def test_hausdorff_against_scipy():
    """Without the percentile it is SciPy's directed distance between the outlines' points."""
    from scipy.spatial.distance import directed_hausdorff

    found, labels = squares(7, side=5), squares(4)
    ways = segmentation.distances(labels[0] == 1, found[0] == 1, PIXELS)

    def points(mask: np.ndarray) -> np.ndarray:
        inner = np.zeros_like(mask)
        inner[1:-1, 1:-1] = (
            mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        )
        return np.argwhere(mask & ~inner)

    one, other = points(labels[0] == 1), points(found[0] == 1)
    assert ways[0].max() == pytest.approx(directed_hausdorff(one, other)[0])
    assert ways[1].max() == pytest.approx(directed_hausdorff(other, one)[0])


def test_a_volume_is_its_slices_together():
    """A structure of 16 pixels in one slice and 4 in the other, of which the latter is missed."""
    labels = np.concatenate([squares(4), squares(4, side=2)])
    found = labels.copy()
    found[1] = 0
    groups = np.array(["a", "a"])
    assert segmentation.of_volumes(found, labels, 2, groups) == pytest.approx([2 * 16 / 36])
    assert segmentation.of_images(measured("dice", found, labels)).mean() == pytest.approx(0.5)


def test_summary():
    each = np.stack([np.ones(20), np.arange(20) / 20], axis=1)
    each[0, 1] = np.nan
    groups = np.repeat(np.arange(5), 4)
    rows = {
        name: (measured, n)
        for name, measured, n in segmentation.summary(
            "dice", SEGMENTATION_METRICS["dice"], each, ["background", "core"], groups
        )
    }
    images = np.array([1, *np.arange(1, 20) / 20])
    mean, n = rows["dice"]
    assert mean.value == pytest.approx(images.mean())
    assert mean.interval == "group_bootstrap"
    assert mean.low < mean.value < mean.high
    assert n == 20
    assert rows["dice_q50"][0].value == pytest.approx(np.median(images))
    assert rows["dice_worst"][0].value == pytest.approx(0.05)
    assert rows["dice_worst"][1] == 1
    assert rows["dice[core]"][0].value == pytest.approx(np.arange(1, 20).mean() / 20)
    assert rows["dice[core]"][1] == 19
    far = segmentation.summary(
        "hd95", SEGMENTATION_METRICS["hd95"], 10 * each, ["background", "core"], None
    )
    assert {name: value.value for name, value, _ in far}["hd95_worst"] == 10


def test_size_and_drop():
    """Of three structures the smallest loses most."""
    labels = np.concatenate([squares(4, side=side) for side in (1, 3, 6)])
    clean = np.array([[1, 1.0], [1, 1.0], [1, 1.0]])
    attacked = np.array([[1, 0.1], [1, 0.5], [1, 0.8]])
    rows = {
        name: value.value
        for name, value, _ in segmentation.size_and_drop(clean, attacked, labels, None)
    }
    assert rows == pytest.approx(
        {
            "dice_drop_small": 0.9,
            "dice_drop_medium": 0.5,
            "dice_drop_large": 0.2,
            "size_drop_rank": -1,
        }
    )
