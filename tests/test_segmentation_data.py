"""Records of images to be segmented: label maps from a user's file to a batch."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from data_helpers import encoded
from PIL import Image
from segmentation_helpers import CLASSES, SIZE, drawing, make_rows, write_drawn

from attnrobust import config
from attnrobust.data import (
    corrupted,
    decoding,
    folds,
    images,
    inputs,
    label_maps,
    records,
    shards,
    writing,
)
from attnrobust.disk import runs
from attnrobust.errors import UserError


def png(numbers: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(numbers).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    """Twenty drawings at their own size."""
    return write_drawn(tmp_path_factory.mktemp("drawn"))


def data(size: int = SIZE, **changes: object) -> config.Data:
    return config.Data("drawn", image_size=size, **changes)


def true_maps(ids: np.ndarray) -> np.ndarray:
    return np.stack([drawing(int(id_.decode()[1:]))[1] for id_ in ids])


def test_records_say_what_their_labels_are(drawn: records.Dataset):
    assert drawn.kind == "segment"
    described = runs.load_json(drawn.root / "dataset.json")
    assert described["task"] == "segmentation"
    for split in drawn.splits:
        shown = inputs.shown(drawn, split)
        counts = list(drawn.splits[split]["class_counts"].values())
        assert shown.shape == (drawn.count(split), 3)
        np.testing.assert_array_equal(shown.sum(axis=0), counts)
        assert counts[0] == drawn.count(split)


def test_every_map_comes_back_as_it_was_drawn(drawn: records.Dataset):
    seen = set()
    for split in drawn.splits:
        for batch in inputs.evaluation_batches(drawn, split, data=data(), batch_size=3):
            assert batch["label"].dtype == tf.int64
            ids = batch["id"].numpy()
            np.testing.assert_array_equal(batch["label"].numpy(), true_maps(ids))
            pictures = np.stack([drawing(int(id_.decode()[1:]))[0] for id_ in ids])
            np.testing.assert_allclose(batch["image"].numpy(), pictures / 255, atol=1e-6)
            seen |= set(ids)
    assert len(seen) == 20


def test_groups_are_not_torn_apart(drawn: records.Dataset):
    of_split = {
        split: {
            group
            for batch in inputs.evaluation_batches(drawn, split, data=data(), batch_size=8)
            for group in batch["group"].numpy()
        }
        for split in drawn.splits
    }
    assert sum(map(len, of_split.values())) == len(set().union(*of_split.values())) == 10


def test_a_smaller_map_takes_classes_and_never_mixes_them(drawn: records.Dataset):
    found = inputs.labels(drawn, "test", size=16)
    assert found.shape == (drawn.count("test"), 16, 16)
    full = inputs.labels(drawn, "test")
    # Of each block of 2 x 2 the nearest to its middle, which TensorFlow takes for the last.
    np.testing.assert_array_equal(found, full[:, 1::2, 1::2])


def test_maps_are_fitted_like_their_images(tmp_path: Path):
    numbers = np.zeros((20, 40), np.uint8)
    numbers[:, 10:30] = 1
    how = {"classes": CLASSES, "values": (), "shape": (20, 40), "size": 10}
    for fit, columns in (("crop", range(10)), ("stretch", range(2, 7)), ("pad", range(2, 7))):
        content, there = label_maps.prepared(png(numbers), fit=fit, **how)
        found = np.asarray(Image.open(io.BytesIO(content)))
        assert found.shape == (10, 10)
        assert set(np.unique(found)) <= {0, 1}
        middle = np.flatnonzero(found[5])
        assert abs(middle[0] - columns[0]) <= 1
        assert abs(middle[-1] - columns[-1]) <= 1
        assert there == [CLASSES[value] for value in np.unique(found)]
    assert (found[0] == 0).all(), "what pads is background"


def test_numbers_of_a_file_stand_for_classes():
    numbers = np.array([[0, 255], [255, 0]], np.uint8)
    found = label_maps.load(png(numbers), ("background", "lesion"), (0, 255))
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])
    palette = Image.fromarray(np.array([[2, 0]], np.uint8), "P")
    palette.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    content = io.BytesIO()
    palette.save(content, "PNG")
    np.testing.assert_array_equal(label_maps.load(content.getvalue(), CLASSES), [[2, 0]])
    wide = np.array([[1000, 7]], np.uint16)
    np.testing.assert_array_equal(label_maps.load(png(wide), ("a", "b"), (7, 1000)), [[1, 0]])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png(np.full((32, 32), 3, np.uint8)), "3 stands for no class; expected 0 background, 1"),
        (png(np.zeros((30, 32), np.uint8)), "label map: 32 x 30, its image 32 x 32"),
        (png(np.zeros((32, 32, 3), np.uint8)), "colours (RGB), expected a whole number a pixel"),
        (b"nothing", "not an image that can be read"),
        (encoded(drawing(0)[0]), "expected a PNG or another lossless image"),
    ],
)
def test_a_map_that_cannot_be_used_is_rejected_with_its_reason(
    content: bytes, said: str, tmp_path: Path
):
    rows = make_rows(tmp_path / "raw", 6)
    rows[2].map.write_bytes(content)
    how = shards.Preparation(size=SIZE, workers=1, max_rejects=0.5)
    out = tmp_path / "out"
    writing.write(out, name="drawn", classes=CLASSES, rows=rows, rejects=[], how=how)
    (line,) = (out / "rejects.csv").read_text().splitlines()[1:]
    assert line.startswith("4,d2,")
    assert said in line.replace('"', "")


def test_a_photograph_turned_by_its_tag_has_no_map_beside_it(tmp_path: Path):
    (row,) = make_rows(tmp_path, 1)
    place, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(drawing(0)[0]).save(place, exif=exif)
    row = dataclasses.replace(row, path=place)
    how = shards.Preparation(size=SIZE)
    _, made = shards.prepare_image(row, how)
    with pytest.raises(images.UnusableImageError, match="turned by an EXIF tag"):
        shards.prepare_map(row, how, CLASSES, made)


def test_augmentation_moves_image_and_map_together(drawn: records.Dataset):
    settings = ("flip", "rotate", "zoom", "shift", "wu_brightness")
    training = config.Training(batch_size=12, augmentation=settings)
    (batch,) = inputs.training_batches(drawn, data=data(), training=training, seed=3, epoch=0)
    pictures, maps = batch[0].numpy(), batch[1].numpy()
    assert maps.shape == (12, SIZE, SIZE)
    assert set(np.unique(maps)) == {0, 1, 2}
    still = config.Training(batch_size=12, augmentation=())
    (before,) = inputs.training_batches(drawn, data=data(), training=still, seed=3, epoch=0)
    assert (maps != before[1].numpy()).mean() > 0.05
    # Grey tells the class, but at borders and where a square lies outside.
    said = np.select([pictures[..., 0] > 0.68, pictures[..., 0] < 0.31], [1, 2], 0)
    assert (said == maps).mean() > 0.95
    moved_alone = (said == before[1].numpy()).mean()
    assert moved_alone < 0.9


def test_class_pixels_are_counted_in_images_that_show_the_class(drawn: records.Dataset):
    full = inputs.labels(drawn, "train")
    expected = [(full == k).sum() / (full == k).any(axis=(1, 2)).sum() for k in range(3)]
    np.testing.assert_allclose(inputs.class_pixels(drawn, data()), expected)
    few = inputs.class_pixels(drawn, data(limit=1))
    np.testing.assert_allclose(few, np.bincount(full[0].ravel(), minlength=3))


def test_folds_of_label_maps_keep_groups_whole(drawn: records.Dataset):
    parts = [folds.as_fold(drawn, 3, fold) for fold in range(3)]
    groups = [
        {
            group
            for batch in inputs.evaluation_batches(part, "validation", data=data(), batch_size=8)
            for group in batch["group"].numpy()
        }
        for part in parts
    ]
    assert len(set().union(*groups)) == sum(map(len, groups)) == 6
    for part in parts:
        shown = inputs.shown(part, "train").sum(axis=0)
        np.testing.assert_array_equal(shown, list(part.splits["train"]["class_counts"].values()))


def test_damaged_counts_are_said(drawn: records.Dataset, tmp_path: Path):
    described = runs.load_json(drawn.root / "dataset.json")
    described["splits"]["train"]["class_counts"]["disc"] = 1 + drawn.count("train")
    runs.save_json(tmp_path / "dataset.json", described)
    with pytest.raises(UserError, match=r"splits.train.class_counts: not of its classes"):
        records.load(tmp_path)


def test_a_map_that_does_not_decode_is_named(drawn: records.Dataset, tmp_path: Path):
    copy = dataclasses.replace(drawn, root=tmp_path)
    for split in drawn.splits:
        for file in drawn.files(split):
            (tmp_path / Path(file).name).write_bytes(Path(file).read_bytes())
    decoding.check(copy)
    file = Path(copy.files("train")[0])
    (first, *others) = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    example = tf.train.Example.FromString(first)
    example.features.feature["label_map"].bytes_list.value[0] = b"no PNG"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for content in (example.SerializeToString(), *others):
            writer.write(content)
    id_ = example.features.feature["id"].bytes_list.value[0].decode()
    with pytest.raises(UserError, match=f"of {id_} does not decode"):
        decoding.check(copy)


def test_corrupted_copies_keep_their_maps(drawn: records.Dataset, tmp_path: Path):
    how = {"names": ["gaussian_noise"], "levels": [5], "workers": 1}
    made = corrupted.write(drawn.root, tmp_path / "made", seed=0, splits=["test"], **how)
    np.testing.assert_array_equal(inputs.labels(made, "test"), inputs.labels(drawn, "test"))
    with pytest.raises(UserError, match="--oversample repeats images by their class"):
        corrupted.write(
            drawn.root, tmp_path / "b", seed=0, splits=["train"], oversample=True, **how
        )
