"""The balanced subset of HAM10000: how many, which, and that no lesion is torn."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from data_helpers import SIZE, image_file, make_raw, read_table, stored, write_table

from attnrobust.data import shards, splits, writing
from attnrobust.data.raw import SPLITS, Row
from attnrobust.errors import UserError
from tfrecords import ham10000_balanced

TEN = {"nv": 10, "bkl": 10, "mel": 10}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven classes of 10 lesions, the first photographed twice, but of mel only 10 images."""
    place = make_raw(tmp_path / "raw", lesions=10)
    table = read_table(place)
    mel = [row["image_id"] for row in table if row["dx"] == "mel"]
    write_table(place, [row for row in table if row["image_id"] != mel[0]])
    return place


def counts(rows: Sequence[Row], split: str) -> dict[str, int]:
    return dict(Counter(row.label for row in rows if row.split == split))


def test_the_smallest_class_decides_and_299_of_1099_are_for_test(folder: Path) -> None:
    rows, rejects = ham10000_balanced.read(folder)
    assert not rejects
    assert Counter(row.label for row in rows) == TEN
    # 10 * 299 / 1099 = 2.7, and lesions of one image are there to fill it.
    assert counts(rows, "test") == {"nv": 3, "bkl": 3, "mel": 3}
    assert counts(rows, "") == {"nv": 7, "bkl": 7, "mel": 7}
    fractions = dict(zip(SPLITS, (0.7, 0.1, 0.2), strict=True))
    split_of = splits.split_by_group(rows, fractions=fractions, seed=0)
    assert {row.group for row in rows if row.split} == {
        group for group, split in split_of.items() if split == "test"
    }


def test_the_order_of_the_table_plays_no_part(folder: Path) -> None:
    rows, _ = ham10000_balanced.read(folder)
    before = {(row.id, row.split) for row in rows}
    table = read_table(folder)
    random.Random(1).shuffle(table)
    write_table(folder, table)
    after, _ = ham10000_balanced.read(folder)
    assert {(row.id, row.split) for row in after} == before
    nv = [row["image_id"] for row in table if row["dx"] == "nv"]
    assert {row.id for row in rows if row.label == "nv"} != {*sorted(nv)[:10]}, "a draw"


def test_lesions_are_whole_though_the_number_is_then_off(folder: Path) -> None:
    """Five lesions of two images each: 10 * 299 / 1099 = 2.7 allows one lesion."""
    table = [row for row in read_table(folder) if not row["image_id"].endswith("1")]
    rows = [row for row in table if row["dx"] in ("nv", "bkl")]
    for number, row in enumerate(rows):
        row["lesion_id"] = f"{row['dx']}-{number % 5}"
    mel = [
        {
            **row,
            "dx": "mel",
            "lesion_id": row["lesion_id"].replace("nv", "mel"),
            "image_id": row["image_id"].replace("ISIC_05", "ISIC_00"),
        }
        for row in rows
        if row["dx"] == "nv"
    ]
    write_table(folder, [*rows, *mel])
    rows, rejects = ham10000_balanced.read(folder)
    assert not rejects
    assert counts(rows, "test") == {"nv": 2, "bkl": 2, "mel": 2}
    assert {
        len({row.split for row in rows if row.group == group})
        for group in {row.group for row in rows}
    } == {1}
    rows, _ = ham10000_balanced.read(folder, split_by="image")
    assert counts(rows, "test") == {"nv": 3, "bkl": 3, "mel": 3}, "by image the number is exact"


def test_a_lesion_of_two_classes_has_one_split(folder: Path) -> None:
    table = read_table(folder)
    for row in table:
        row["lesion_id"] = row["image_id"][-2]  # ten lesions, each with an image of every class
    write_table(folder, table)
    rows, _ = ham10000_balanced.read(folder)
    split_of: dict[str, str] = {}
    for row in rows:
        assert split_of.setdefault(row.group, row.split) == row.split
    assert "test" in split_of.values()


def test_a_class_without_an_image_is_named(folder: Path) -> None:
    write_table(folder, [row for row in read_table(folder) if row["dx"] != "bkl"])
    with pytest.raises(UserError, match=r"HAM10000_metadata\.csv: no usable image of bkl"):
        ham10000_balanced.read(folder)


def test_the_records_hold_the_draw(folder: Path, tmp_path: Path) -> None:
    rows, rejects = ham10000_balanced.read(folder)
    dataset = writing.write(
        tmp_path / "out",
        name=ham10000_balanced.NAME,
        classes=ham10000_balanced.CLASSES,
        rows=rows,
        rejects=rejects,
        how=shards.Preparation(size=SIZE, workers=1),
    )
    assert stored(dataset).keys() == {row.id for row in rows}
    assert stored(dataset, "test").keys() == {row.id for row in rows if row.split}
    assert dataset.splits["test"]["class_counts"] == {"nv": 3, "bkl": 3, "mel": 3}
    # An eighth of the six or seven lesions left of each class.
    held_out = {(each["label"], each["group"]) for each in stored(dataset, "validation").values()}
    assert sorted(label for label, _ in held_out) == [0, 1, 2]


def test_the_real_images_give_300_a_class(real_data: Path) -> None:
    rows, rejects = ham10000_balanced.read(real_data / "ham10000")
    assert not rejects
    assert Counter(row.label for row in rows) == {"nv": 300, "bkl": 300, "mel": 300}
    # 300 * 299 / 1099 = 81.6, filled up by lesions of one image.
    assert counts(rows, "test") == {"nv": 82, "bkl": 82, "mel": 82}
    assert not {r.group for r in rows if r.split} & {r.group for r in rows if not r.split}


def test_one_picture_under_two_ids_is_in_one_split(folder: Path) -> None:
    rows, _ = ham10000_balanced.read(folder, split_by="image")
    test = next(row for row in rows if row.split == "test")
    other = next(row for row in rows if row.split == "" and row.label == test.label)
    other.path.write_bytes(test.path.read_bytes())
    again, rejects = ham10000_balanced.read(folder, split_by="image")
    assert not rejects
    split_of = {row.id: row.split for row in again}
    assert split_of[test.id] == split_of[other.id]


def test_what_is_wrong_with_other_classes_counts_for_nothing(folder: Path) -> None:
    rows, _ = ham10000_balanced.read(folder)
    for name in ("df", "nv"):
        table = read_table(folder)
        image = next(row["image_id"] for row in table if row["dx"] == name)
        image_file(folder, image).unlink()
        again, rejects = ham10000_balanced.read(folder)
        assert [reject.id for reject in rejects] == ([] if name == "df" else [image])
    assert {row.label for row in again} == {row.label for row in rows} == {"nv", "bkl", "mel"}
