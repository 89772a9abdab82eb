"""A corrupted copy of records: what stays, what is drawn, and that it is the same again."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from data_helpers import (
    SIZE,
    colours,
    contents,
    encoded,
    make_eyepacs,
    make_raw,
    pixels,
    shard_files,
    stored,
    write_records,
)

from attnrobust.corruptions import RANDOM, corrupt
from attnrobust.data import corrupted, corrupting, records, shards, writing
from attnrobust.data.raw import SPLITS
from attnrobust.disk import runs
from attnrobust.errors import UserError
from tfrecords import eyepacs

TASKS = {"two": records.Task(classes=("a", "b"), of=(0, 1, 0, 1, 0, 1, 0))}
SEVERE = ("under_exposure", "gaussian_noise")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    """77 images, half of them with a mask, the first a PNG under its .jpg name, one rejected."""
    folder = make_raw(tmp_path_factory.mktemp("raw") / "ham", lesions=10, masks=True)
    first, second, third = sorted(folder.glob("HAM10000_images_part_*/*.jpg"))[:3]
    first.write_bytes(encoded(colours(500), "PNG"))
    second.write_bytes(b"")
    grey = colours(501)[..., :1].repeat(3, axis=2)
    third.write_bytes(encoded(grey))
    for path in list(folder.glob("HAM10000_seg*/*.png"))[::2]:
        path.unlink()
    return write_records(folder, tmp_path_factory.mktemp("records") / "ham10000", tasks=TASKS)


@pytest.fixture(scope="module")
def copy(dataset: records.Dataset, tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    out = tmp_path_factory.mktemp("copy") / "corrupted"
    return corrupted.write(dataset.root, out, names=SEVERE, levels=(2, 5), seed=3)


def choices(folder: Path) -> list[dict[str, str]]:
    with (folder / "corruptions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def described(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "dataset.json").read_text()))


def test_all_but_the_pixels_stays(dataset: records.Dataset, copy: records.Dataset) -> None:
    before, after = stored(dataset), stored(copy)
    assert list(before) == list(after), "the order, too"
    assert len(after) == 76
    for id_, example in before.items():
        kept = {key: value for key, value in example.items() if key != "image"}
        assert kept == {key: value for key, value in after[id_].items() if key != "image"}
        assert pixels(after[id_]["image"]).shape == (SIZE, SIZE, 3)
        assert example["image"][:2] == after[id_]["image"][:2], "JPEG stays JPEG, PNG stays PNG"
    masks = [bool(example["mask"]) for example in after.values()]
    assert any(masks)
    assert not all(masks)
    assert Counter(e["image"][:2] for e in after.values()) == {b"\xff\xd8": 75, b"\x89P": 1}
    old, new = described(dataset.root), described(copy.root)
    for key in (
        "format",
        "name",
        "task",
        "classes",
        "tasks",
        "size",
        "fit",
        "filter",
        "fractions",
        "split_seed",
        "converted",
        "same_content",
        "rejects",
    ):
        assert old[key] == new[key]
    for split in SPLITS:
        assert copy.count(split) == dataset.count(split)
        assert copy.splits[split]["class_counts"] == dataset.splits[split]["class_counts"]
    assert copy.as_task("two").classes == ("a", "b")
    rejects = "rejects.csv"
    assert (copy.root / rejects).read_bytes() == (dataset.root / rejects).read_bytes()


def test_the_copy_is_verified_and_says_what_it_is(
    dataset: records.Dataset, copy: records.Dataset
) -> None:
    records.verify(copy)
    assert records.load(copy.root) == copy
    assert copy.hash != dataset.hash
    assert described(copy.root)["corrupted"] == {
        "of": dataset.hash,
        "corruptions": list(SEVERE),
        "levels": [2, 5],
        "seed": 3,
        "splits": list(SPLITS),
    }
    assert not list(copy.root.parent.glob("*.partial"))


def test_each_image_is_corrupted_as_the_list_says(
    dataset: records.Dataset, copy: records.Dataset
) -> None:
    before, after, listed = stored(dataset), stored(copy), choices(copy.root)
    assert [row["id"] for row in listed] == list(after)
    for row in listed:
        assert row["split"] == after[row["id"]]["split"]
        source = pixels(before[row["id"]]["image"])
        image = pixels(after[row["id"]]["image"])
        wanted = (
            corrupt(
                source[np.newaxis].astype(np.float32) / 255,
                [row["id"]],
                row["corruption"],
                int(row["level"]),
                seed=3,
            )[0]
            * 255
        )
        assert not np.array_equal(image, source)
        error = np.abs(image - wanted)
        if after[row["id"]]["image"].startswith(b"\x89PNG"):
            assert error.max() <= 0.5 + 1e-3
        else:
            # JPEG at quality 95 of noise on every pixel.
            assert error.mean() < 4
    drawn = Counter((row["corruption"], row["level"]) for row in listed)
    # 76 images over four cells: 19 each, standard deviation 3.8.
    assert set(drawn) == {(name, level) for name in SEVERE for level in "25"}
    assert min(drawn.values()) >= 8


def test_under_exposure_by_hand(dataset: records.Dataset, tmp_path: Path) -> None:
    copy = corrupted.write(dataset.root, tmp_path / "out", names=["under_exposure"], levels=[2])
    before, after = stored(dataset), stored(copy)
    ratios = [
        pixels(after[id_]["image"]).mean() / pixels(before[id_]["image"]).mean() for id_ in before
    ]
    # Two stops at gamma 2.2: 2^(-2 / 2.2) = 0.5325.
    np.testing.assert_allclose(ratios, 0.5325, atol=0.01)


def test_a_grey_image_stays_grey(dataset: records.Dataset, copy: records.Dataset) -> None:
    grey = [
        id_
        for id_, example in stored(dataset).items()
        if np.ptp(pixels(example["image"]), axis=2).max() == 0
    ]
    assert len(grey) == 1
    assert np.ptp(pixels(stored(copy)[grey[0]]["image"]), axis=2).max() == 0


def test_a_second_run_and_more_threads_give_the_same_bytes(
    dataset: records.Dataset, copy: records.Dataset, tmp_path: Path
) -> None:
    corrupted.write(dataset.root, tmp_path / "a", names=SEVERE, levels=(5, 2, 2), seed=3, workers=3)
    assert contents(tmp_path / "a") == contents(copy.root)
    corrupted.write(dataset.root, tmp_path / "b", names=SEVERE, levels=(2, 5), seed=4)
    assert shard_files(tmp_path / "b").keys() == shard_files(copy.root).keys()
    drawn = [(row["corruption"], row["level"]) for row in choices(copy.root)]
    assert drawn != [(row["corruption"], row["level"]) for row in choices(tmp_path / "b")]


def test_what_becomes_of_an_image_hangs_on_its_id_not_on_its_place(
    dataset: records.Dataset, copy: records.Dataset
) -> None:
    for row in choices(copy.root)[::-7]:
        image = np.full((8, 8, 3), 0.5, np.float32)
        _, name, level = corrupting.random_corruption(image, row["id"], SEVERE, [2, 5], seed=3)
        assert (name, str(level)) == (row["corruption"], row["level"])


def test_splits_that_are_not_named_are_copied(dataset: records.Dataset, tmp_path: Path) -> None:
    copy = corrupted.write(dataset.root, tmp_path / "out", splits=["test"])
    for split in SPLITS:
        for old, new in zip(dataset.files(split), copy.files(split), strict=True):
            same = Path(old).read_bytes() == Path(new).read_bytes()
            assert same == (split != "test")
    listed = choices(copy.root)
    assert {row["id"] for row in listed} == stored(dataset, "test").keys()
    assert {row["split"] for row in listed} == {"test"}
    # Wu's four, levels 1 to 4, are the defaults.
    assert {row["corruption"] for row in listed} <= set(RANDOM)
    assert {row["level"] for row in listed} <= set("1234")
    assert described(copy.root)["corrupted"]["splits"] == ["test"]


@pytest.mark.slow
def test_oversampling_repeats_training_images_each_with_a_corruption_of_its_own(
    tmp_path: Path,
) -> None:
    folder = make_eyepacs(tmp_path / "raw", patients=20)
    rows, rejects = eyepacs.read(folder)
    kept = [row for row in rows if row.label != eyepacs.CLASSES[4] or row.group < "107"]
    how = shards.Preparation(size=SIZE, shard_size=4, workers=1)
    source = writing.write(
        tmp_path / "in",
        name="eyepacs",
        classes=eyepacs.CLASSES,
        rows=kept,
        rejects=rejects,
        how=how,
    )
    counts = source.splits["train"]["class_counts"]
    most = max(counts.values())
    assert 0 < min(counts.values()) < most
    assert any(most % count for count in counts.values()), "not all classes have whole multiples"
    argv = [
        "--records",
        str(source.root),
        "--out",
        str(tmp_path / "out"),
        "--splits",
        "train",
        "--oversample",
    ]
    assert corrupted.main(argv) == 0
    copy = records.load(tmp_path / "out")
    records.verify(copy)
    assert copy.corrupted["oversampled"] is True
    assert copy.splits["train"]["class_counts"] == dict.fromkeys(counts, most)
    before, after = stored(source, "train"), stored(copy, "train")
    assert copy.count("train") == len(after) == 5 * most
    assert Counter(e["label"] for e in after.values()) == dict.fromkeys(range(5), most)
    assert [shard["count"] for shard in copy.splits["train"]["shards"]] == [
        sum(1 for _ in tf.data.TFRecordDataset(file)) for file in copy.files("train")
    ]
    times = Counter(id_.partition("#")[0] for id_ in after)
    assert times.keys() == before.keys()
    for label in range(5):
        mine = [times[id_] for id_, example in before.items() if example["label"] == label]
        assert max(mine) - min(mine) <= 1
        assert mine == sorted(mine, reverse=True), "the first ones have one copy more"
    listed = {row["id"]: row for row in choices(copy.root)}
    assert list(listed) == list(after)
    for id_, example in after.items():
        original = before[id_.partition("#")[0]]
        assert (example["label"], example["group"]) == (original["label"], original["group"])
        _, name, level = corrupting.random_corruption(
            np.full((8, 8, 3), 0.5, np.float32), id_, RANDOM, [1, 2, 3, 4], seed=0
        )
        assert (name, str(level)) == (listed[id_]["corruption"], listed[id_]["level"])
    assert len({example["image"] for example in after.values()}) > len(before)
    for split in ("validation", "test"):
        assert stored(copy, split) == stored(source, split)
    # Without it each image stands there once, under its own draw.
    plain = corrupted.write(source.root, tmp_path / "plain", splits=["train"])
    assert "oversampled" not in plain.corrupted
    assert all(stored(plain, "train")[id_] == after[id_] for id_ in before)
    with pytest.raises(UserError, match="--oversample repeats images of the train split"):
        corrupted.write(source.root, tmp_path / "none", splits=["test"], oversample=True)


def call(*options: object) -> int:
    return corrupted.main([str(option) for option in options])


def test_the_command_does_the_same(
    dataset: records.Dataset,
    copy: records.Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    options = [
        "--corruptions",
        ", ".join(SEVERE),
        "--levels",
        "2,5",
        "--seed",
        3,
        "--splits",
        "test,train,validation",
    ]
    assert call("--records", dataset.root, "--out", out, *options) == 0
    assert contents(out) == contents(copy.root)
    assert call("--records", dataset.root, "--out", out) == 1
    assert f"error: --out {out}: there already; name a new folder" in capsys.readouterr().err


def test_records_of_one_data_set_or_of_several_are_named_alike(
    dataset: records.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards, small = tmp_path / "shards", ["--splits", "validation", "--levels", 1]
    shutil.copytree(dataset.root, shards / "one")
    assert call("--records", shards, "--out", tmp_path / "only", *small) == 0
    shutil.copytree(dataset.root, shards / "other")
    assert call("other", "--records", shards, "--out", tmp_path / "named", *small) == 0
    assert call("other", "--records", dataset.root, "--out", tmp_path / "itself", *small) == 0
    found = [contents(tmp_path / name) for name in ("only", "named", "itself")]
    assert found[0] == found[1] == found[2]
    capsys.readouterr()
    assert call("--records", shards, "--out", tmp_path / "which", *small) == 1
    said = f"error: {shards}: records of several data sets; name one: one, other\n"
    assert capsys.readouterr().err == said
    assert call("eyepacs", "--records", shards, "--out", tmp_path / "which", *small) == 1
    assert str(shards) in capsys.readouterr().err
    assert not (tmp_path / "which").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--corruptions", "under_exposur"], "no corruption 'under_exposur'; did you mean under_e"),
        (["--corruptions", ","], "--corruptions: expected at least one"),
        (["--levels", "0-4"], "--levels 0, 1, 2, 3, 4: expected some of 1 to 5"),
        (["--levels", "6"], "--levels 6: expected some of 1 to 5"),
        (["--levels", "4-1"], "--levels 4-1: expected whole numbers of 1 to 5, such as 1-4"),
        (["--levels", ""], "--levels : expected some of 1 to 5"),
        (["--levels", "hard"], "--levels hard: expected whole numbers of 1 to 5, such as 1-4"),
        (["--splits", "tset"], "no split 'tset'; did you mean test"),
        (["--splits", ""], "--splits: expected at least one"),
    ],
)
def test_what_is_asked_wrongly_is_one_line_and_nothing_is_written(
    dataset: records.Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert call("--records", dataset.root, "--out", tmp_path / "out", *options) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_records_are_not_written_onto_themselves_nor_corrupted_twice(
    dataset: records.Dataset, copy: records.Dataset, tmp_path: Path
) -> None:
    before = contents(dataset.root)
    with pytest.raises(UserError, match="that is --records itself"):
        corrupted.write(dataset.root, dataset.root / ".." / dataset.root.name)
    with pytest.raises(UserError, match="corrupted already; take what it was made from"):
        corrupted.write(copy.root, tmp_path / "out")
    with pytest.raises(UserError, match="no records there"):
        corrupted.write(tmp_path, tmp_path / "out")
    assert contents(dataset.root) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["none", "graham"])
def test_a_filter_before_the_corruption_is_told(
    dataset: records.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    shutil.copytree(dataset.root, tmp_path / "in")
    described = runs.load_json(tmp_path / "in" / "dataset.json")
    runs.save_json(tmp_path / "in" / "dataset.json", {**described, "filter": kind})
    assert records.load(tmp_path / "in").filter == kind
    with caplog.at_level("WARNING", "attnrobust"):
        corrupted.write(tmp_path / "in", tmp_path / "out")
    assert ("after the filter graham" in caplog.text) == (kind == "graham")


def test_damaged_records_are_named_and_not_copied(dataset: records.Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.root, tmp_path / "in")
    file = next((tmp_path / "in").glob("train-*"))
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"{file.name}: damaged"):
        corrupted.write(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_cut_off_leaves_no_records_and_the_next_one_is_whole(
    dataset: records.Dataset,
    copy: records.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def failing(*args: object, **settings: object) -> None:
        calls.append(args)
        if len(calls) > 30:
            raise OSError(28, "No space left on device")
        return original(*args, **settings)

    original = corrupting.random_corruption
    out = tmp_path / "out"
    monkeypatch.setattr(corrupting, "random_corruption", failing)
    with pytest.raises(OSError, match="No space"):
        corrupted.write(dataset.root, out, names=SEVERE, levels=(2, 5), seed=3)
    assert not out.exists()
    monkeypatch.undo()
    corrupted.write(dataset.root, out, names=SEVERE, levels=(2, 5), seed=3)
    assert contents(out) == contents(copy.root)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
