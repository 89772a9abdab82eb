"""Records to batches: nothing lost or doubled, pixels as stored, augmentation as documented."""

import dataclasses
import io
import math
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from data_helpers import (
    SIZE,
    colours,
    encoded,
    image_file,
    make_raw,
    mask,
    pixels,
    stored,
    write_records,
)
from PIL import Image

from attnrobust.config import Data, Training
from attnrobust.data import augmentation, corrupting, inputs, records
from attnrobust.errors import UserError
from tfrecords import ham10000

DATA = Data(dataset="ham10000", image_size=SIZE)
PLAIN = Training(batch_size=8, augmentation=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_raw(tmp_path_factory.mktemp("raw") / "ham", lesions=10, masks=True)


@pytest.fixture(scope="module")
def dataset(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    """77 images of 70 lesions, in more train shards than are read at a time."""
    found = write_records(folder, tmp_path_factory.mktemp("records") / "ham10000")
    assert len(found.files("train")) > 8
    assert all(found.count(split) for split in found.splits)
    return found


def evaluated(
    dataset: records.Dataset, split: str, batch_size: int = 8, data: Data = DATA
) -> list[dict[str, np.ndarray]]:
    batches = inputs.evaluation_batches(dataset, split, data=data, batch_size=batch_size)
    return list(batches.as_numpy_iterator())


def ids(batches: Sequence[dict[str, np.ndarray]]) -> list[str]:
    return [id_.decode() for batch in batches for id_ in batch["id"]]


@pytest.fixture(scope="module")
def named(dataset: records.Dataset) -> Callable[[np.ndarray], str]:
    """Gives the id of a training image by its pixels."""
    table = {
        image.tobytes(): id_.decode()
        for batch in evaluated(dataset, "train")
        for id_, image in zip(batch["id"], batch["image"], strict=True)
    }
    return lambda image: table[image.tobytes()]


def trained(
    dataset: records.Dataset,
    epoch: int = 0,
    *,
    training: Training = PLAIN,
    seed: int = 0,
    data: Data = DATA,
) -> list[tuple[np.ndarray, np.ndarray]]:
    batches = inputs.training_batches(dataset, data=data, training=training, seed=seed, epoch=epoch)
    return list(batches.as_numpy_iterator())


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("batch_size", [1, 8, 1000])
def test_evaluation_gives_each_id_once_with_its_own_label(
    dataset: records.Dataset, split: str, batch_size: int
) -> None:
    batches = evaluated(dataset, split, batch_size)
    truth = stored(dataset, split)
    assert sorted(ids(batches)) == sorted(truth)
    assert len(ids(batches)) == dataset.count(split)
    labels = np.concatenate([batch["label"] for batch in batches])
    assert [truth[id_]["label"] for id_ in ids(batches)] == labels.tolist()
    sizes = [len(batch["id"]) for batch in batches]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert sizes[-1] == (dataset.count(split) - 1) % batch_size + 1


def test_the_order_of_evaluation_is_fixed_and_that_of_labels(dataset: records.Dataset) -> None:
    first, second = evaluated(dataset, "train", 7), evaluated(dataset, "train", 7)
    assert ids(first) == ids(second) == ids(evaluated(dataset, "train", 1))
    labels = np.concatenate([batch["label"] for batch in first])
    np.testing.assert_array_equal(inputs.labels(dataset, "train"), labels)


def test_pixels_are_those_of_the_stored_jpeg_as_pillow_decodes_it(
    dataset: records.Dataset,
) -> None:
    truth = stored(dataset, "test")
    for batch in evaluated(dataset, "test"):
        assert batch["image"].dtype == np.float32
        assert batch["image"].shape[1:] == (SIZE, SIZE, 3)
        for id_, image in zip(batch["id"], batch["image"], strict=True):
            expected = pixels(truth[id_.decode()]["image"]) / 255
            assert np.abs(image - expected).max() <= 1 / 255 + 1e-6


def with_first_image(folder: Path, tmp_path: Path, content: bytes) -> Path:
    """A copy of the raw folder in which one image has this content."""
    copy = Path(shutil.copytree(folder, tmp_path / "raw"))
    image_file(copy, "ISIC_0000").write_bytes(content)
    return copy


def test_subsampled_colours_are_decoded_like_pillow_too(folder: Path, tmp_path: Path) -> None:
    content = encoded(colours(9), subsampling=2, quality=90)
    found = write_records(with_first_image(folder, tmp_path, content), tmp_path / "out")
    image, expected = only(found, "ISIC_0000")
    assert np.abs(image - pixels(expected) / 255).max() <= 1 / 255 + 1e-6


def only(dataset: records.Dataset, id_: str, data: Data = DATA) -> tuple[np.ndarray, bytes]:
    """One image as the model sees it, and as it is stored."""
    example = stored(dataset)[id_]
    found = inputs.read(dataset, example["split"], [id_], data=data)
    return found["image"][0], example["image"]


def test_a_lossless_png_gives_its_own_pixels(folder: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    copy = with_first_image(folder, tmp_path, encoded(picture, "PNG"))
    image, _ = only(write_records(copy, tmp_path / "out"), "ISIC_0000")
    np.testing.assert_allclose(image, picture / 255, atol=1e-6)


@pytest.mark.parametrize("size", [8, 12, 40])
def test_another_size_is_resized_within_the_range(
    folder: Path, tmp_path: Path, dataset: records.Dataset, size: int
) -> None:
    data = dataclasses.replace(DATA, image_size=size)
    for batch in evaluated(dataset, "test", data=data):
        assert batch["image"].shape[1:] == (size, size, 3)
        assert batch["image"].min() >= 0
        assert batch["image"].max() <= 1
    picture = np.full((50, 30, 3), (255, 0, 128), np.uint8)
    copy = with_first_image(folder, tmp_path, encoded(picture, quality=100))
    image, _ = only(write_records(copy, tmp_path / "out", size=0), "ISIC_0000", data)
    assert np.abs(image - picture[0, 0] / 255).max() < 2 / 255


def test_masks_come_along(dataset: records.Dataset) -> None:
    for batch in evaluated(dataset, "test"):
        for content in batch["mask"]:
            picture = np.asarray(Image.open(io.BytesIO(content)))
            np.testing.assert_array_equal(picture, mask())


def test_a_limit_takes_the_first(dataset: records.Dataset) -> None:
    data = dataclasses.replace(DATA, limit=5)
    every = ids(evaluated(dataset, "train"))
    assert ids(evaluated(dataset, "train", 3, data)) == every[:5]
    np.testing.assert_array_equal(
        inputs.labels(dataset, "train", 5), inputs.labels(dataset, "train")[:5]
    )
    assert inputs.count(dataset, "train", 5) == 5
    assert inputs.count(dataset, "train", 10_000) == dataset.count("train")


def test_a_limit_holds_in_training_too(
    dataset: records.Dataset, named: Callable[[np.ndarray], str]
) -> None:
    data = dataclasses.replace(DATA, limit=5)
    batches = trained(dataset, data=data)
    assert len(batches) == inputs.steps(dataset, data, PLAIN) == 1
    first = ids(evaluated(dataset, "train", data=data))
    assert {named(image) for image in batches[0][0]} == set(first)


def test_an_epoch_has_full_batches_and_every_example(
    dataset: records.Dataset, named: Callable[[np.ndarray], str]
) -> None:
    total = dataset.count("train")
    batches = trained(dataset)
    assert len(batches) == inputs.steps(dataset, DATA, PLAIN) == math.ceil(total / 8)
    batch = inputs.training_batches(dataset, data=DATA, training=PLAIN, seed=0, epoch=0)
    assert batch.element_spec[0].shape == (8, SIZE, SIZE, 3), "another shape would be traced anew"
    assert total % 8, "a full last batch would prove nothing"
    seen: Counter[str] = Counter()
    truth = stored(dataset, "train")
    for images, labels in batches:
        assert images.shape == (8, SIZE, SIZE, 3)
        assert images.dtype == np.float32
        for image, label in zip(images, labels, strict=True):
            seen[named(image)] += 1
            assert truth[named(image)]["label"] == label
    assert seen.keys() == truth.keys()
    assert Counter(seen.values()) == {1: total - (-total % 8), 2: -total % 8}


def test_epochs_differ_and_each_is_the_same_again(dataset: records.Dataset) -> None:
    training = dataclasses.replace(PLAIN, augmentation=tuple(augmentation.AUGMENTATIONS))
    runs = {
        key: b"".join(
            images.tobytes() + labels.tobytes()
            for images, labels in trained(dataset, key[0], training=training, seed=key[1])
        )
        for key in [(0, 0), (1, 0), (0, 1), (7, 3)]
    }
    assert len(set(runs.values())) == 4
    again = trained(dataset, 7, training=training, seed=3)
    assert b"".join(i.tobytes() + k.tobytes() for i, k in again) == runs[7, 3]


def test_epochs_are_in_another_order_even_without_augmentation(
    dataset: records.Dataset, named: Callable[[np.ndarray], str]
) -> None:
    orders = [
        [named(image) for images, _ in trained(dataset, epoch) for image in images]
        for epoch in range(3)
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    stored_order = ids(evaluated(dataset, "train"))
    assert all(order[: len(stored_order)] != stored_order for order in orders)


def test_one_dataset_object_gives_the_same_epoch_each_time(dataset: records.Dataset) -> None:
    batches = inputs.training_batches(dataset, data=DATA, training=PLAIN, seed=0, epoch=0)
    first, second = (
        [images.tobytes() for images, _ in batches.as_numpy_iterator()] for _ in range(2)
    )
    assert first == second


def test_four_epochs_of_a_quarter_see_every_example(
    dataset: records.Dataset, named: Callable[[np.ndarray], str]
) -> None:
    training = dataclasses.replace(PLAIN, epoch_fraction=0.25, batch_size=1)
    total = dataset.count("train")
    assert inputs.steps(dataset, DATA, training) == math.ceil(total / 4)
    epochs = [trained(dataset, epoch, training=training) for epoch in range(4)]
    seen = [named(image) for batches in epochs for images, _ in batches for image in images]
    assert set(seen) == stored(dataset, "train").keys()
    assert len(seen) == 4 * math.ceil(total / 4)


@pytest.mark.parametrize("fraction", [0.3, 0.6])
def test_a_part_of_the_data_an_epoch_shows_all_equally_often(
    dataset: records.Dataset, named: Callable[[np.ndarray], str], fraction: float
) -> None:
    training = dataclasses.replace(PLAIN, epoch_fraction=fraction, batch_size=1)
    epochs = [trained(dataset, epoch, training=training) for epoch in range(7)]
    seen = Counter(named(image) for batches in epochs for images, _ in batches for image in images)
    times = [seen[id_] for id_ in stored(dataset, "train")]
    assert max(times) - min(times) <= 1
    assert sum(times) == 7 * math.ceil(fraction * dataset.count("train"))


def test_a_small_fraction_still_gives_one_full_batch(dataset: records.Dataset) -> None:
    training = dataclasses.replace(PLAIN, epoch_fraction=1e-9)
    batches = trained(dataset, 3, training=training)
    assert [len(images) for images, _ in batches] == [8]


def test_an_unknown_augmentation_names_the_known_ones(dataset: records.Dataset) -> None:
    training = dataclasses.replace(PLAIN, augmentation=("flipp",))
    with pytest.raises(UserError, match=r"no training\.augmentation 'flipp'; did you mean flip"):
        trained(dataset, training=training)


def test_augmented_images_keep_shape_type_and_range(dataset: records.Dataset) -> None:
    training = dataclasses.replace(PLAIN, augmentation=("flip", "rotate", "zoom", "shift"))
    before = np.concatenate([images for images, _ in trained(dataset)])
    after = np.concatenate([images for images, _ in trained(dataset, training=training)])
    assert after.shape == before.shape
    assert after.dtype == np.float32
    assert after.min() >= 0
    assert after.max() <= 1
    changed = np.abs(after - before).max(axis=(1, 2, 3)) > 0.02
    assert changed.mean() > 0.9
    # The content stays: the mean colour of an image hardly moves.
    assert np.abs(after.mean(axis=(1, 2)) - before.mean(axis=(1, 2))).max() < 0.25


CORRUPTED = dataclasses.replace(PLAIN, corruptions=("under_exposure", "gaussian_noise"))


def by_id(
    dataset: records.Dataset, training: Training, epoch: int = 0, seed: int = 0
) -> dict[str, np.ndarray]:
    """Corrupted training images by id: order and labels are those of the same epoch without."""
    plain = dataclasses.replace(training, corruptions=(), augmentation=())
    clean = {
        image.tobytes(): id_.decode()
        for batch in evaluated(dataset, "train")
        for id_, image in zip(batch["id"], batch["image"], strict=True)
    }
    found = {}
    for (images, labels), (before, truth) in zip(
        trained(dataset, epoch, training=training, seed=seed),
        trained(dataset, epoch, training=plain, seed=seed),
        strict=True,
    ):
        np.testing.assert_array_equal(labels, truth)
        found.update({clean[b.tobytes()]: i for b, i in zip(before, images, strict=True)})
    return found


def test_training_images_are_corrupted_at_severities_0_to_5_each_by_its_id(
    dataset: records.Dataset,
) -> None:
    found, severities = by_id(dataset, CORRUPTED, epoch=2, seed=1), Counter[int]()
    assert found.keys() == stored(dataset, "train").keys()
    examples = inputs.read(dataset, "train", list(found), data=DATA)
    for id_, image in zip(found, examples["image"], strict=True):
        expected, name, severity = corrupting.random_corruption(
            image, id_, CORRUPTED.corruptions, range(6), seed=10_007 + 2
        )
        assert name in CORRUPTED.corruptions
        assert np.array_equal(image, expected) == (severity == 0)
        np.testing.assert_array_equal(found[id_], expected)
        assert found[id_].dtype == np.float32
        severities[severity] += 1
    assert set(severities) == set(range(6))


def test_each_epoch_and_seed_corrupts_otherwise_and_the_same_again(
    dataset: records.Dataset,
) -> None:
    first = by_id(dataset, CORRUPTED)
    for epoch, seed in ((0, 0), (1, 0), (0, 1)):
        other = by_id(dataset, CORRUPTED, epoch, seed)
        same = [np.array_equal(first[id_], other[id_]) for id_ in first]
        # Another draw leaves two clean once in 36 times.
        assert all(same) if (epoch, seed) == (0, 0) else np.mean(same) < 0.3


def test_images_are_corrupted_before_the_augmentation(dataset: records.Dataset) -> None:
    training = dataclasses.replace(CORRUPTED, augmentation=("flip", "rotate"))
    (images, _), *_ = trained(dataset, training=training)
    (before, _), *_ = trained(dataset, training=CORRUPTED)
    rows = [augmentation.AUGMENTATIONS[name] for name in training.augmentation]
    wanted = augmentation.augment(tf.constant(before), rows, tf.constant([0, 0], tf.int64))
    np.testing.assert_allclose(images, wanted, atol=1e-6)
    assert not np.allclose(images, before, atol=0.05)


def test_corrupted_batches_are_the_same_spread_over_two_devices(dataset: records.Dataset) -> None:
    batches = inputs.training_batches(dataset, data=DATA, training=CORRUPTED, seed=0, epoch=0)
    spread = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    halves = [
        np.concatenate(spread.experimental_local_results(images))
        for images, _ in spread.experimental_distribute_dataset(batches)
    ]
    whole = [images for images, _ in trained(dataset, training=CORRUPTED)]
    np.testing.assert_array_equal(halves, whole)


def test_corruption_by_hand_and_at_severity_0() -> None:
    image = np.full((4, 4, 3), 0.8, np.float32)
    kept = image.copy()
    found, name, severity = corrupting.random_corruption(
        image, "x", ["under_exposure"], [3], seed=0
    )
    # Three stops at gamma 2.2: 0.8 * 2^(-3 / 2.2).
    np.testing.assert_allclose(found, 0.8 * 2 ** (-3 / 2.2), rtol=1e-5)
    assert (name, severity) == ("under_exposure", 3)
    np.testing.assert_array_equal(image, kept)
    same, _, severity = corrupting.random_corruption(image, "x", ["under_exposure"], [0], seed=0)
    np.testing.assert_array_equal(same, kept)
    assert severity == 0


def test_corruptions_and_severities_are_drawn_alike() -> None:
    image = np.zeros((2, 2, 3), np.float32)
    drawn = Counter(
        corrupting.random_corruption(image, str(n), ["brightness", "contrast"], [0, 1, 2], seed=5)[
            1:
        ]
        for n in range(1200)
    )
    # 200 each, standard deviation 13.
    assert len(drawn) == 6
    assert min(drawn.values()) > 140


def test_an_unknown_corruption_names_the_known_ones(dataset: records.Dataset) -> None:
    training = dataclasses.replace(PLAIN, corruptions=("gaussian_noize",))
    with pytest.raises(UserError, match=r"no training\.corruptions 'gaussian_noize'; did you mean"):
        trained(dataset, training=training)


def test_read_gives_chosen_examples_in_the_order_asked(dataset: records.Dataset) -> None:
    truth = stored(dataset, "test")
    chosen = sorted(truth)[:6][::-1]
    found = inputs.read(dataset, "test", chosen, data=DATA)
    assert found["id"].tolist() == chosen
    assert found["label"].tolist() == [truth[id_]["label"] for id_ in chosen]
    assert found["image"].shape == (6, SIZE, SIZE, 3)
    for id_, image, region in zip(chosen, found["image"], found["mask"], strict=True):
        assert np.abs(image - pixels(truth[id_]["image"]) / 255).max() <= 1 / 255 + 1e-6
        np.testing.assert_array_equal(region, mask() > 0)
    assert found["mask"].dtype == bool


def test_read_without_a_mask_gives_an_empty_region(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "raw"))
    shutil.rmtree(copy / ham10000.MASKS)
    found = write_records(copy, tmp_path / "out")
    chosen = sorted(stored(found, "test"))[:2]
    region = inputs.read(found, "test", chosen, data=DATA)["mask"]
    assert region.shape == (2, SIZE, SIZE)
    assert not region.any()


def test_read_of_an_id_of_another_split_names_it(dataset: records.Dataset) -> None:
    inside, outside = sorted(stored(dataset, "test"))[0], sorted(stored(dataset, "train"))[0]
    with pytest.raises(UserError, match=f"no {outside} in the test split"):
        inputs.read(dataset, "test", [inside, outside], data=DATA)


def test_a_split_without_an_example_is_one_line(folder: Path, tmp_path: Path) -> None:
    found = write_records(folder, tmp_path / "out", fractions=(0.8, 0.0, 0.2))
    assert inputs.labels(found, "validation").tolist() == []
    with pytest.raises(UserError, match="no example in the validation split"):
        evaluated(found, "validation")
    with pytest.raises(UserError, match="no x in the validation split"):
        inputs.read(found, "validation", ["x"], data=DATA)


def test_a_task_maps_labels_everywhere(folder: Path, tmp_path: Path) -> None:
    of = (1, 1, 0, 0, 1, 0, 2)
    task = records.Task(classes=("benign", "malignant", "vascular"), of=of)
    whole = write_records(folder, tmp_path / "out", tasks={"three": task})
    mapped = whole.as_task("three")
    truth = stored(whole, "train")
    batches = evaluated(mapped, "train")
    labels = np.concatenate([batch["label"] for batch in batches])
    assert [of[truth[id_]["label"]] for id_ in ids(batches)] == labels.tolist()
    assert set(labels.tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(inputs.labels(mapped, "train"), labels)
    some = ids(batches)[3:9]
    found = inputs.read(mapped, "train", some, data=DATA)
    assert found["label"].tolist() == [of[truth[id_]["label"]] for id_ in some]
    seen = {
        image.tobytes(): label
        for images, labels in trained(mapped)
        for image, label in zip(images, labels, strict=True)
    }
    images = np.concatenate([batch["image"] for batch in batches])
    assert seen == {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
