"""Arrays, tf.data and MedMNIST files: stored without loss, every usual mistake named in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from data_helpers import SIZE, pixels, stored

from attnrobust.data import own, records, shards
from attnrobust.data.own.pixels import as_bytes
from attnrobust.errors import UserError

HOW = shards.Preparation(size=SIZE, workers=1)


def splits(dataset: records.Dataset) -> dict[str, int]:
    return {split: dataset.count(split) for split in ("train", "validation", "test")}


def array(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def test_arrays_are_stored_without_loss(tmp_path: Path) -> None:
    images, classes = array(6, SIZE, SIZE, 3), ["p", "q", "r"]
    numbers = [0, 1, 2, 0, 1, 2]
    found = own.from_arrays(images, numbers, classes, groups=["a", "a", "b", "b", "c", "c"])
    folder = found.rows[0].path.parent
    dataset = own.write(found, tmp_path / "out", how=HOW, test_only=True)
    for id_, example in stored(dataset).items():
        np.testing.assert_array_equal(pixels(example["image"]), images[int(id_)])
        assert example["label"] == numbers[int(id_)]
    assert dataset.classes == ("p", "q", "r")
    assert {example["group"] for example in stored(dataset).values()} == {"a", "b", "c"}
    assert folder.is_dir()
    del found
    assert not folder.exists(), "the files go with what was found"


@pytest.mark.parametrize(
    "make",
    [
        lambda images: (images / 255).astype(np.float32),
        lambda images: images / 255.0,
        tf.constant,
    ],
    ids=["float32", "float64", "tensor"],
)
def test_floats_and_tensors_are_the_same_bytes(make: Callable[[np.ndarray], Any]) -> None:
    images = array(3, 8, 9, 3)
    np.testing.assert_array_equal(as_bytes(make(images), "images"), images)


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE, SIZE, 1)])
def test_grey_arrays_become_rgb(shape: tuple[int, ...], tmp_path: Path) -> None:
    images = array(4, *shape)
    found = own.from_arrays(images, ["a", "b", "a", "b"])
    assert found.classes == ("a", "b")
    examples = stored(own.write(found, tmp_path / "out", how=HOW, test_only=True))
    for place, example in enumerate(examples[id_] for id_ in sorted(examples)):
        grey = images[place].reshape(SIZE, SIZE)
        np.testing.assert_array_equal(pixels(example["image"]), np.dstack([grey] * 3))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ([2, 10, 0, 2], ("0", "2", "10")),
        (np.array([[2], [10], [0], [2]]), ("0", "2", "10")),
        ([2.0, 10.0, 0.0, 2.0], ("0", "2", "10")),
        (np.eye(5)[[1, 0, 1, 3]], ("0", "1", "2", "3", "4")),
        (np.array(["b", "a", "b", "C"]), ("C", "a", "b")),
    ],
    ids=["numbers", "column", "floats", "one-hot", "names"],
)
def test_labels_of_arrays(given: Any, names: tuple[str, ...]) -> None:
    assert own.from_arrays(array(4, 8, 8), given).classes == names


UNIT = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)


HOLED = np.where(np.arange(4)[:, None, None, None] == 2, np.nan, UNIT)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (UNIT * 255, r"floats up to 25\d.*; expected \[0, 1\], or uint8: images / 255"),
        (UNIT * 2 - 1, r"floats from -\S+ to .*undo it, as \(images \+ 1\) / 2"),
        (UNIT / 255, "none is brighter than 1 of 255: divided by 255 twice"),
        (UNIT.astype(np.uint8), "none is brighter than 0 of 255"),
        (UNIT.transpose(0, 3, 1, 2), r"\(4, 3, 8, 8\) looks like NCHW; .*np.transpose"),
        (array(4, 1, 8, 8), "looks like NCHW"),
        (HOLED, "NaN or infinity in 1, the first is 2"),
        (array(4, 8, 8, 4), "four channels; expected RGB"),
        (array(4, 8, 8, 8), "volumes in 3-D"),
        (array(4, 8, 8).astype(np.int64), "int64; expected uint8"),
        (array(4, 8), r"shape \(4, 8\); expected uint8"),
        (array(0, 8, 8), "no image"),
        ([array(8, 8), array(8, 9)], "of different shapes"),
    ],
)
def test_images_of_another_kind_are_named(images: Any, reason: str) -> None:
    with pytest.raises(UserError, match=rf"^images: .*{reason}"):
        own.from_arrays(images, [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("given", "classes", "reason"),
    [
        ([0, 1, 0], "", "3 for 4 images"),
        ([1, 2, 3, 1], "abc", r"from 1 to 3 for 3 classes; expected 0 to 2 \(shifted by one"),
        ([0, 5, 0, 1], "abc", "from 0 to 5 for 3 classes; expected 0 to 2$"),
        ([0.5, 1, 0, 1], "", "floats that are no whole numbers"),
        (np.ones((4, 3)), "", "4 rows have not exactly one 1: multi-label data"),
        (np.ones((4, 3, 2)), "", r"shape \(4, 3, 2\); expected \(N,\)"),
        (["a", "", "a", "b"], "", r"empty label \(at 1\)"),
    ],
)
def test_labels_of_another_kind_are_named(given: Any, classes: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"^labels: .*{reason}"):
        own.from_arrays(UNIT, given, tuple(classes))


def test_a_single_class_is_named() -> None:
    with pytest.raises(UserError, match=r"^arrays: a single class, '1'"):
        own.from_arrays(UNIT, [1, 1, 1, 1])
    with pytest.raises(UserError, match=r"^groups: 1 for 4 images"):
        own.from_arrays(UNIT, [0, 1, 0, 1], groups=["a"])
    with pytest.raises(UserError, match=r"^groups: empty at 2"):
        own.from_arrays(UNIT, [0, 1, 0, 1], groups=["a", "b", np.nan, "c"])


def test_a_tf_dataset_batched_or_not() -> None:
    images, numbers = array(5, 8, 8, 3), [0, 1, 1, 0, 1]
    plain = tf.data.Dataset.from_tensor_slices((images, numbers))
    for dataset in (
        plain,
        plain.batch(2),
        plain.map(lambda x, y: (tf.cast(x, tf.float32) / 255, tf.one_hot(y, 2))),
        plain.batch(2).map(lambda x, y: (x, tf.one_hot(y, 2))),
        plain.map(lambda x, y: (x, [y])),
    ):
        found = own.from_dataset(dataset)
        assert [row.label for row in found.rows] == [str(each) for each in numbers]
        for row, image in zip(found.rows, images, strict=True):
            np.testing.assert_array_equal(pixels(row.path.read_bytes()), image)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.repeat(), "never ends"),
        (
            lambda data: data.map(lambda x, y: {"image": x, "label": y}),
            "gives dict; expected pairs",
        ),
        (lambda data: data.map(lambda x, y: x), "expected pairs"),
        (lambda data: data.map(lambda x, y: (x, y, 1.0)), "gives 3 parts"),
        (lambda data: data.take(0), "is empty"),
        (lambda data: data.map(lambda x, y: (tf.cast(x, tf.float32), y)), r"floats up to 2\d\d"),
    ],
)
def test_a_tf_dataset_of_another_kind_is_named(
    change: Callable[[tf.data.Dataset], tf.data.Dataset], reason: str
) -> None:
    plain = tf.data.Dataset.from_tensor_slices((array(4, 8, 8, 3), [0, 1, 0, 1]))
    with pytest.raises(UserError, match=reason):
        own.from_dataset(change(plain))


def medmnist(path: Path, *shape: int, **changes: np.ndarray) -> Path:
    """A file like MedMNIST's: labels (N, 1)."""
    arrays = {}
    for place, (name, count) in enumerate({"train": 8, "val": 2, "test": 4}.items()):
        rng = np.random.default_rng(place)
        arrays[f"{name}_images"] = rng.integers(0, 256, (count, *shape), np.uint8)
        arrays[f"{name}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    np.savez(path, **{**arrays, **changes})
    return path


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_medmnist_with_its_splits(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = medmnist(tmp_path / "pathmnist.npz", *shape)
    found = own.read(path, classes=("benign", "malignant"))
    assert found.source == [path]
    dataset = own.write(found, tmp_path / "out", how=shards.Preparation(size=28, workers=1))
    assert splits(dataset) == {"train": 8, "validation": 2, "test": 4}
    examples = stored(dataset, "test")
    assert [examples[f"test_{place:06d}"]["label"] for place in range(4)] == [0, 1, 0, 1]
    with np.load(path) as file:
        last = file["test_images"][3]
    expected = np.dstack([last] * 3) if last.ndim == 2 else last
    np.testing.assert_array_equal(pixels(examples["test_000003"]["image"]), expected)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test_labels": np.ones((4, 14), np.uint8)}, "test_labels: .* multi-label data"),
        ({"val_images": array(2, 28, 28, 28)}, "val_images: .* volumes in 3-D"),
        ({"test_labels": np.ones((3, 1), np.uint8)}, "3 test_labels for 4"),
    ],
)
def test_a_medmnist_file_of_another_kind_is_named(
    changes: dict[str, np.ndarray], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"x\.npz: {reason}"):
        own.read(medmnist(tmp_path / "x.npz", 28, 28, **changes))


def test_other_npz_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "vol.npz", vol=np.zeros(3))
    (tmp_path / "text.npz").write_text("no zip")
    np.savez(tmp_path / "pickled.npz", images=np.array([{}], object), labels=np.zeros(1))
    for name, reason in {
        "vol": "no images in it, but vol; expected train_images, train_labels",
        "text": "not a readable .npz",
        "pickled": "not a readable .npz",
    }.items():
        with pytest.raises(UserError, match=reason):
            own.read(tmp_path / f"{name}.npz")
