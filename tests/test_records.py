"""Rows to shards and back: complete, unchanged, in one split each, and whole or not at all."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from data_helpers import (
    SIZE,
    colours,
    contents,
    encoded,
    image_file,
    make_raw,
    mask,
    pixels,
    read_table,
    reject_reasons,
    shard_files,
    stored,
    write_records,
    write_table,
)

from attnrobust.data import images, preprocessing, raw, records, shards, workers, writing
from attnrobust.data.raw import Reject, Row
from attnrobust.disk import runs
from attnrobust.errors import UserError
from tfrecords import ham10000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """35 images of 28 lesions; not to be changed."""
    return make_raw(tmp_path_factory.mktemp("raw") / "ham", masks=True)


@pytest.fixture(scope="module")
def dataset(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    """Their records."""
    return write_records(folder, tmp_path_factory.mktemp("records") / "ham10000")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the raw folder that a test may spoil."""
    return Path(shutil.copytree(folder, tmp_path / "raw"))


def test_every_row_is_stored_once_with_its_label_and_group(
    folder: Path, dataset: records.Dataset
) -> None:
    table = {row["image_id"]: row for row in read_table(folder)}
    found = stored(dataset)
    assert found.keys() == table.keys()
    assert len(found) == 35
    for id_, example in found.items():
        assert dataset.classes[example["label"]] == table[id_]["dx"]
        assert example["group"] == table[id_]["lesion_id"]


def test_no_group_and_no_picture_is_in_two_splits(dataset: records.Dataset) -> None:
    for key in ("group", "image"):
        split_of: dict[Any, set[str]] = {}
        for example in stored(dataset).values():
            split_of.setdefault(example[key], set()).add(example["split"])
        assert len(split_of) == {"group": 28, "image": 35}[key]
        assert all(len(splits) == 1 for splits in split_of.values())


def test_each_class_is_split_alike(dataset: records.Dataset) -> None:
    # 4 lesions a class: round(0.8) = 1 in test, round(0.4) = 0 in validation, 3 in train.
    groups: dict[tuple[int, str], set[str]] = {}
    for example in stored(dataset).values():
        groups.setdefault((example["label"], example["split"]), set()).add(example["group"])
    expected = {
        (label, split): count for label in range(7) for split, count in (("train", 3), ("test", 1))
    }
    assert {key: len(value) for key, value in groups.items()} == expected


def test_the_description_agrees_with_what_is_stored(dataset: records.Dataset) -> None:
    described = json.loads((dataset.root / "dataset.json").read_text())
    assert (described["name"], described["task"]) == ("ham10000", "classification")
    assert dataset.classes == ham10000.CLASSES == tuple(described["classes"])
    for split in raw.SPLITS:
        labels = [example["label"] for example in stored(dataset, split).values()]
        assert dataset.count(split) == len(labels)
        assert dataset.splits[split]["class_counts"] == {
            name: labels.count(index) for index, name in enumerate(dataset.classes)
        }
        for shard, file in zip(dataset.splits[split]["shards"], dataset.files(split), strict=True):
            examples = list(tf.data.TFRecordDataset(file).as_numpy_iterator())
            assert shard["count"] == len(examples) <= 4
            assert shard["bytes"] == Path(file).stat().st_size
    assert {path.name for path in dataset.root.iterdir()} == {
        "dataset.json",
        "rejects.csv",
        "duplicates.csv",
        *(Path(f).name for s in raw.SPLITS for f in dataset.files(s)),
    }
    records.verify(dataset)
    assert records.load(dataset.root) == dataset


def test_a_jpeg_of_the_right_size_is_kept_byte_by_byte(
    folder: Path, dataset: records.Dataset
) -> None:
    for id_, example in stored(dataset).items():
        assert example["image"] == image_file(folder, id_).read_bytes()


def test_size_0_keeps_every_image_as_it_is(own: Path, tmp_path: Path) -> None:
    large = encoded(colours(5, 40, 31))
    image_file(own, "ISIC_0000").write_bytes(large)
    found = stored(write_records(own, tmp_path / "out", size=0))
    assert found["ISIC_0000"]["image"] == large
    assert found["ISIC_0001"]["image"] == image_file(own, "ISIC_0001").read_bytes()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_other_sizes_are_fitted_and_stored_with_little_loss(
    own: Path, tmp_path: Path, fit: str
) -> None:
    image_file(own, "ISIC_0000").write_bytes(encoded(colours(5, 60, 80)))
    found = stored(write_records(own, tmp_path / "out", fit=fit))["ISIC_0000"]
    expected = preprocessing.FITS[fit].make(
        pixels(image_file(own, "ISIC_0000").read_bytes()), SIZE
    )[0]
    difference = np.abs(pixels(found["image"]).astype(int) - expected)
    assert difference.mean() < 3
    assert pixels(found["image"]).shape == (SIZE, SIZE, 3)


def test_masks_are_stored_as_they_are_and_fitted_like_their_images(
    own: Path, tmp_path: Path, dataset: records.Dataset
) -> None:
    for example in stored(dataset).values():
        np.testing.assert_array_equal(pixels(example["mask"])[..., 0], mask())
    wide = np.zeros((30, 60), np.uint8)
    wide[:, 30:] = 255
    path = own / ham10000.MASKS / "ISIC_0000_segmentation.png"
    path.write_bytes(encoded(wide, "PNG"))
    found = stored(write_records(own, tmp_path / "out", fit="pad"))["ISIC_0000"]["mask"]
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[4:12, 8:] = 255
    np.testing.assert_array_equal(pixels(found)[..., 0], expected)


def test_an_image_without_a_mask_has_an_empty_one(own: Path, tmp_path: Path) -> None:
    (own / ham10000.MASKS / "ISIC_0000_segmentation.png").unlink()
    found = stored(write_records(own, tmp_path / "out"))
    assert found["ISIC_0000"]["mask"] == b""
    assert found["ISIC_0001"]["mask"] != b""


def test_a_png_is_kept_without_loss(own: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    image_file(own, "ISIC_0000").write_bytes(encoded(picture, "PNG"))
    found = stored(write_records(own, tmp_path / "out"))["ISIC_0000"]["image"]
    np.testing.assert_array_equal(pixels(found), picture)


@pytest.mark.parametrize(("kind", "size"), [("TIFF", SIZE), ("BMP", 0), ("PPM", SIZE)])
def test_other_lossless_formats_are_stored_as_png(
    kind: str, size: int, own: Path, tmp_path: Path
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    old = image_file(own, "ISIC_0000")
    old.with_suffix(f".{kind.lower()}").write_bytes(encoded(picture, kind))
    old.unlink()
    dataset = write_records(own, tmp_path / "out", size=size)
    found = stored(dataset)["ISIC_0000"]["image"]
    assert found.startswith(b"\x89PNG")
    np.testing.assert_array_equal(pixels(found), picture)
    described = json.loads((dataset.root / "dataset.json").read_text())
    assert described["converted"] == {kind: 1}


@pytest.mark.parametrize("error", [ValueError("no\nsuch"), IndexError("i"), cv2.error("bad")])
@pytest.mark.parametrize("where", ["FITS", "FILTERS"])
def test_whatever_fails_while_one_image_is_made_is_its_reject(
    where: str, error: Exception, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_file(own, "ISIC_0000").write_bytes(encoded(np.full((30, 20, 3), 255, np.uint8)))
    name, does = {"FITS": ("stretch", "make"), "FILTERS": ("none", "apply")}[where]
    row = getattr(preprocessing, where)[name]

    def fails_on_white(image: np.ndarray, *more: int, **others: object) -> object:
        if image.min() == 255:
            raise error
        return getattr(row, does)(image, *more, **others)

    changed = dataclasses.replace(row, **{does: fails_on_white})
    monkeypatch.setitem(getattr(preprocessing, where), name, changed)
    dataset = write_records(own, tmp_path / "out")
    (reason,) = reject_reasons(dataset.root / "rejects.csv").items()
    said = " ".join(str(error).split())
    assert reason == ("ISIC_0000", f"cannot be fitted or filtered ({type(error).__name__}: {said})")
    assert len(stored(dataset)) == 34


@pytest.mark.parametrize("which", ["image", "mask"])
def test_what_would_be_made_is_judged_too(which: str, tmp_path: Path) -> None:
    long = encoded(np.zeros((9000, 2), np.uint8), "PNG")
    small = encoded(np.zeros((4, 4), np.uint8), "PNG")
    for name in ("image", "mask"):
        (tmp_path / name).write_bytes(long if name == which else small)
    row = Row("x", tmp_path / "image", "nv", "g", 2, tmp_path / "mask")
    how = shards.Preparation(size=SIZE, fit="pad")
    make = shards.prepare_image if which == "image" else shards.prepare_mask
    with pytest.raises(images.UnusableImageError, match="2 x 9000: padded to a square"):
        make(row, how)
    with pytest.raises(UserError, match=r"--size 8000: 64 megapixels, more than 50"):
        shards.Preparation(size=8000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_is_taken_of_cut_files_can_be_decoded_by_tensorflow(tmp_path: Path, kind: str) -> None:
    content, path = encoded(colours(6), kind), tmp_path / "x.jpg"
    taken = 0
    for cut in [*range(16), *range(16, len(content), 29)]:
        path.write_bytes(content[: len(content) - cut])
        row = Row("x", path, "nv", "g", 2)
        try:
            image, _ = shards.prepare_image(row, shards.Preparation(size=SIZE))
        except images.UnusableImageError:
            continue
        decoded = tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE").numpy()
        difference = np.abs(decoded.astype(int) - pixels(content))
        assert difference.max() <= 1
        taken += 1
    assert 1 <= taken < 16


def test_records_are_the_same_again_and_others_with_another_seed(
    folder: Path, dataset: records.Dataset, tmp_path: Path
) -> None:
    again = write_records(folder, tmp_path / "again")
    assert contents(again.root) == contents(dataset.root)
    other = write_records(folder, tmp_path / "other", seed=1)
    before, after = stored(dataset), stored(other)
    assert before.keys() == after.keys()
    assert any(before[id_]["split"] != after[id_]["split"] for id_ in before)
    assert other.hash != dataset.hash


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(
    folder: Path, dataset: records.Dataset, tmp_path: Path
) -> None:
    write_records(folder, tmp_path / "out", workers=2)
    assert contents(tmp_path / "out") == contents(dataset.root)


def test_the_order_of_the_table_does_not_matter(
    own: Path, dataset: records.Dataset, tmp_path: Path
) -> None:
    write_table(own, read_table(own)[::-1])
    assert shard_files(write_records(own, tmp_path / "out").root) == shard_files(dataset.root)


def test_shards_are_of_nearly_equal_length(folder: Path, tmp_path: Path) -> None:
    found = write_records(folder, tmp_path / "out", shard_size=10)
    counts = [shard["count"] for shard in found.splits["train"]["shards"]]
    assert sum(counts) == found.count("train")
    assert len(counts) == -(-found.count("train") // 10)
    assert max(counts) - min(counts) <= 1
    assert max(counts) <= 10


def test_copies_under_two_ids_stay_in_one_split(
    own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Lesions 1, 2 and 3 of a class become one chain of copies; with --seed 0 they were torn apart.
    before = stored(write_records(own, tmp_path / "before"))
    first = [id_ for id_, example in before.items() if example["label"] == 0]
    assert len({before[id_]["split"] for id_ in first}) == 2
    for id_ in first[1:]:
        image_file(own, id_).write_bytes(image_file(own, first[0]).read_bytes())
    after = stored(write_records(own, tmp_path / "after"))
    assert after.keys() == before.keys()
    assert len({after[id_]["split"] for id_ in first}) == 1
    assert f"{len(first)} rows share their image with another" in caplog.text


def test_copies_with_different_labels_are_both_rejected(own: Path, tmp_path: Path) -> None:
    image_file(own, "ISIC_0100").write_bytes(image_file(own, "ISIC_0010").read_bytes())
    found = stored(write_records(own, tmp_path / "out"))
    reasons = reject_reasons(tmp_path / "out" / "rejects.csv")
    lines = [
        n
        for n, row in enumerate(read_table(own), 2)
        if row["image_id"] in ("ISIC_0010", "ISIC_0100")
    ]
    reason = f"same image with different labels in lines {lines[0]}, {lines[1]}"
    assert reasons == {"ISIC_0010": reason, "ISIC_0100": reason}
    assert runs.load_json(tmp_path / "out" / "dataset.json")["rejects"] == 2
    assert len(found) == 33
    assert not found.keys() & reasons.keys()


def test_grey_and_rotated_images_are_counted_aloud(
    own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for id_ in ("ISIC_0000", "ISIC_0010"):
        image_file(own, id_).write_bytes(encoded(colours(int(id_[-4:]))[..., 1]))
    caplog.clear()
    found = write_records(own, tmp_path / "out")
    assert "2 images with grey, stored upright as 8-bit RGB" in caplog.text
    described = json.loads((found.root / "dataset.json").read_text())
    assert described["converted"] == {"grey": 2}


def cut_off(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, *, after: int
) -> Callable[[], None]:
    """Let the write of the next shard but `after` fail half-way; gives what undoes it."""
    whole, written = shards.write_shard, []

    def cut(
        partial: Path,
        file: str,
        rows: Sequence[Row],
        classes: Sequence[str],
        how: shards.Preparation,
    ) -> None:
        if len(written) < after:
            written.append(file)
            return whole(partial, file, rows, classes, how)
        with shards.runs.atomic(partial / file) as temporary:
            temporary.write_bytes(b"half a shard")
            raise error

    monkeypatch.setattr(shards, "write_shard", cut)
    return lambda: monkeypatch.setattr(shards, "write_shard", whole)


def test_a_write_that_is_cut_off_keeps_old_records_and_finished_shards(
    folder: Path,
    dataset: records.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    before = contents(write_records(folder, out, seed=1).root)
    undo = cut_off(monkeypatch, KeyboardInterrupt(), after=2)
    with pytest.raises(KeyboardInterrupt):
        write_records(folder, out)
    assert contents(out) == before
    finished = sorted(partial.glob("*.tfrecord"))
    assert len(finished) == 2
    numbers = {path.name: path.stat().st_ino for path in finished}
    (partial / ".123-left-over").write_bytes(b"of a process that was killed")
    undo()
    caplog.clear()
    found = write_records(folder, out)
    assert "going on in" in caplog.text
    assert contents(out) == contents(dataset.root)
    assert {name: (out / name).stat().st_ino for name in numbers} == numbers
    assert found == records.load(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_shards_of_another_plan_are_not_taken_over(
    folder: Path, dataset: records.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undo = cut_off(monkeypatch, KeyboardInterrupt(), after=2)
    for changes in ({"seed": 1}, {"size": 24}, {"shard_size": 5}):
        with pytest.raises(KeyboardInterrupt):
            write_records(folder, tmp_path / "out", **changes)
    undo()
    write_records(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(dataset.root)


def test_a_full_disk_keeps_old_records_and_names_the_shard(
    folder: Path, dataset: records.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    before = contents(write_records(folder, out, seed=1).root)
    undo = cut_off(monkeypatch, OSError(28, "No space left on device"), after=1)
    with pytest.raises(UserError, match=r"no space left .*\.tfrecord; earlier results are intact"):
        write_records(folder, out)
    assert contents(out) == before
    undo()
    write_records(folder, out)
    assert contents(out) == contents(dataset.root)


def test_too_many_rejects_keep_old_records_and_list_the_reasons(own: Path, tmp_path: Path) -> None:
    out, listed = tmp_path / "out", tmp_path / "out.rejects.csv"
    before = contents(write_records(own, out).root)
    image_file(own, "ISIC_0000").write_bytes(b"")  # found while writing
    image_file(own, "ISIC_0301").unlink()  # found while reading
    message = r"2 of 35 rows cannot be used, more than --max-rejects 0\.05 allows; the first is"
    with pytest.raises(UserError, match=message) as error:
        write_records(own, out, max_rejects=0.05)
    assert "line 2 (ISIC_0000): zero bytes" in str(error.value)
    assert str(listed) in str(error.value)
    assert reject_reasons(listed) == {
        "ISIC_0000": "zero bytes",
        "ISIC_0301": "no image file of this name",
    }
    assert contents(out) == before
    found = write_records(own, out, max_rejects=0.06)
    assert reject_reasons(out / "rejects.csv").keys() == {"ISIC_0000", "ISIC_0301"}
    assert len(stored(found)) == 33
    assert not listed.exists()


def test_what_was_mended_after_a_refusal_is_read_again(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    large, damaged = image_file(own, "ISIC_0000"), image_file(own, "ISIC_0010")
    mask_file = own / ham10000.MASKS / "ISIC_0020_segmentation.png"
    wholes = {path: path.read_bytes() for path in (damaged, mask_file)}
    large.write_bytes(encoded(colours(0, 200, 200)))
    for path, content in wholes.items():
        path.write_bytes(content[: len(content) // 2])
    refused = {"max_rejects": 0.0, "max_megapixels": 0.03}
    with pytest.raises(UserError, match="3 of 35"):
        write_records(own, out, **refused)
    damaged.write_bytes(wholes[damaged])
    with pytest.raises(UserError, match="2 of 35"):
        write_records(own, out, **refused)
    mask_file.write_bytes(wholes[mask_file])
    with pytest.raises(UserError, match="1 of 35"):
        write_records(own, out, **refused)
    assert len(stored(write_records(own, out, max_rejects=0.0))) == 35


def test_no_usable_image_is_an_error_even_when_all_may_be_rejected(
    own: Path, tmp_path: Path
) -> None:
    for path in own.glob("*/*.jpg"):
        path.write_bytes(b"x")
    with pytest.raises(UserError, match=r"no usable image among 35 rows"):
        write_records(own, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_that_the_reader_rejected_are_counted(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows, _ = ham10000.read(folder)
    how = shards.Preparation(size=SIZE, workers=1, max_rejects=0.5)
    caplog.clear()
    writing.write(
        tmp_path / "out",
        name="x",
        classes=ham10000.CLASSES,
        rows=rows,
        rejects=[Reject(99, "a,b", 'with "quotes"')],
        how=how,
    )
    assert reject_reasons(tmp_path / "out" / "rejects.csv") == {"a,b": 'with "quotes"'}
    assert "1 rows rejected" in caplog.text


def test_a_folder_that_holds_no_records_is_never_replaced(own: Path) -> None:
    before = contents(own)
    with pytest.raises(UserError, match="holds other files than records"):
        write_records(own, own)
    assert contents(own) == before
    assert sorted(path.name for path in own.parent.iterdir()) == ["raw"]


def test_an_empty_folder_is_taken(folder: Path, tmp_path: Path, dataset: records.Dataset) -> None:
    (tmp_path / "out").mkdir()
    write_records(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(dataset.root)


def test_old_records_come_back_after_a_kill_between_the_two_renames(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    before = contents(write_records(folder, out, seed=1).root)
    out.rename(tmp_path / ".out.replaced")
    cut_off(monkeypatch, KeyboardInterrupt(), after=0)
    with pytest.raises(KeyboardInterrupt):
        write_records(folder, out)
    assert contents(out) == before


def test_a_worker_that_is_killed_is_one_clear_line() -> None:
    def work() -> None:
        with workers.workers(2) as pool:
            assert pool is not None
            pool.submit(os._exit, 9).result()

    with pytest.raises(UserError, match="a worker process was killed"):
        work()


@pytest.fixture
def copy(dataset: records.Dataset, tmp_path: Path) -> Path:
    """Records that a test may spoil."""
    return Path(shutil.copytree(dataset.root, tmp_path / "copy"))


def test_a_flipped_byte_is_found_and_named_by_verify(copy: Path, dataset: records.Dataset) -> None:
    for file in (dataset.files("train")[1], dataset.files("test")[0]):
        path = copy / Path(file).name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{path.name}: damaged"):
            records.verify(records.load(copy))
        shutil.copy(file, path)
    records.verify(records.load(copy))


def test_a_half_written_shard_is_found_when_loading(copy: Path) -> None:
    path = next(copy.glob("test-*"))
    whole = path.stat().st_size
    os.truncate(path, whole // 2)
    with pytest.raises(UserError, match=f"{path.name}: {whole // 2:,} bytes, expected {whole:,}"):
        records.load(copy)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name}: missing"):
        records.load(copy)


def test_no_records_are_one_line_with_the_command_that_makes_them(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="no records there") as error:
            records.load(path)
        assert f"attnrobust prepare DATASET --raw DIR --out {path}" in str(error.value)


def change(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_description_of_another_format_or_damaged_is_refused(copy: Path) -> None:
    path = copy / "dataset.json"
    change(path, {"format": 99})
    with pytest.raises(UserError, match="format 99, expected 1"):
        records.load(copy)
    os.truncate(path, 100)
    with pytest.raises(UserError, match=r"dataset\.json: damaged \(not JSON"):
        records.load(copy)


@pytest.mark.parametrize("size", [-1, 1, 7])
def test_a_size_that_is_none_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"--size {size}: expected at least 8, or 0"):
        shards.Preparation(size=size)


def test_an_unknown_fit_names_the_known_ones(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no fit 'squash'; known: stretch, crop, pad"):
        write_records(folder, tmp_path / "out", fit="squash")


MALIGNANT = records.Task(classes=("benign", "malignant"), of=(1, 1, 0, 0, 1, 0, 0))


def test_a_task_has_classes_counts_and_a_hash_of_its_own(folder: Path, tmp_path: Path) -> None:
    dataset = write_records(folder, tmp_path / "out", tasks={"malignant": MALIGNANT})
    assert dataset.as_task("") is dataset
    task = dataset.as_task("malignant")
    assert task.classes == ("benign", "malignant")
    assert task.hash != dataset.hash
    assert task.hash == records.load(tmp_path / "out").as_task("malignant").hash
    for split in dataset.splits:
        labels = [MALIGNANT.of[example["label"]] for example in stored(dataset, split).values()]
        counts = {"benign": labels.count(0), "malignant": labels.count(1)}
        assert task.splits[split]["class_counts"] == counts
        assert task.count(split) == dataset.count(split)
        assert task.files(split) == dataset.files(split)


def test_an_unknown_task_names_the_known_ones(
    folder: Path, tmp_path: Path, dataset: records.Dataset
) -> None:
    own = write_records(folder, tmp_path / "out", tasks={"malignant": MALIGNANT})
    with pytest.raises(UserError, match=r"no task 'malignent'; did you mean malignant\?"):
        own.as_task("malignent")
    with pytest.raises(UserError, match="no task 'binary'; ham10000 has none"):
        dataset.as_task("binary")


def test_records_from_before_there_were_tasks_can_be_read(
    dataset: records.Dataset, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(dataset.root, tmp_path / "old"))
    described = json.loads((copy / "dataset.json").read_text())
    del described["tasks"], described["filter"]
    (copy / "dataset.json").write_text(json.dumps(described))
    assert records.load(copy).tasks == {}


def test_a_filter_changes_jpegs_that_would_be_kept_byte_by_byte(
    folder: Path, dataset: records.Dataset, tmp_path: Path
) -> None:
    filtered = stored(write_records(folder, tmp_path / "out", filter="gaussian_high_pass"))
    for id_, example in stored(dataset).items():
        expected = preprocessing.gaussian_high_pass(pixels(example["image"]))
        found = pixels(filtered[id_]["image"]).astype(int)
        assert np.abs(found - expected).mean() < 4  # JPEG
        assert filtered[id_]["mask"] == example["mask"]


def test_an_unknown_filter_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no filter 'gauss'; .*gaussian_high_pass"):
        shards.Preparation(filter="gauss")
