"""The reader of EyePACS: layout, grades, both eyes of a patient, the binary task."""

import logging
from collections import Counter
from pathlib import Path

import pytest
from data_helpers import SIZE, colours, encoded, make_eyepacs, stored

from attnrobust.data import prepare, records, shards, writing
from attnrobust.errors import UserError
from tfrecords import eyepacs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_eyepacs(tmp_path / "raw")


def edit(folder: Path, before: str, after: str) -> None:
    path = folder / eyepacs.TABLE
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


def test_rows_have_grade_patient_and_line(folder: Path) -> None:
    rows, rejects = eyepacs.read(folder)
    assert not rejects
    assert len(rows) == 40
    first, second, third = rows[:3]
    assert (first.id, first.label, first.group, first.line) == ("100_left", "no_dr", "100", 2)
    assert (second.id, second.label, second.group) == ("100_right", "proliferative", "100")
    assert (third.id, third.label, third.group, third.line) == ("101_left", "mild", "101", 4)
    assert first.path == folder / "train" / "100_left.jpeg"


@pytest.mark.parametrize("suffix", [".jpeg", ".jpg", ".png", ".JPEG"])
@pytest.mark.parametrize("place", ["train", ""])
def test_places_and_suffixes(folder: Path, place: str, suffix: str) -> None:
    for path in sorted((folder / "train").iterdir()):
        path.rename(folder / place / f"{path.stem}{suffix}")
    rows, rejects = eyepacs.read(folder)
    assert not rejects
    assert [row.path for row in rows] == [folder / place / f"{row.id}{suffix}" for row in rows]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("103_left,3", "103_left,5", "level '5', expected 0, 1, 2, 3 or 4"),
        ("103_left,3", "103_left,-1", "level '-1'"),
        ("103_left,3", "103_left,", "level ''"),
        ("103_left,3", "103_left,3.0", "level '3.0'"),
        ("103_left,3", "999_left,3", "no image file of this name"),
        ("103_left,3", "../103_left,3", "unsafe id"),
        ("103_left,3", "103_middle,3", "id is not <patient>_left or <patient>_right"),
        ("103_left,3", "left,3", "id is not"),
        ("103_left,3", "103_Left,3", "id is not"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_with_its_line(
    folder: Path, before: str, after: str, reason: str
) -> None:
    for name in ("103_middle", "left", "103_Left"):
        (folder / "train" / f"{name}.jpeg").write_bytes(encoded(colours(99)))
    edit(folder, before, after)
    rows, rejects = eyepacs.read(folder)
    assert [reject.line for reject in rejects] == [8]
    assert reason in rejects[0].reason
    assert len(rows) == 39


def test_a_missing_folder_table_or_column_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        eyepacs.read(folder / "none")
    edit(folder, "image,level", "image,grade")
    with pytest.raises(UserError, match="no column level; it has image, grade"):
        eyepacs.read(folder)
    (folder / eyepacs.TABLE).unlink()
    with pytest.raises(UserError, match=r"trainLabels\.csv: not there"):
        eyepacs.read(folder)


@pytest.mark.parametrize("seed", range(5))
def test_both_eyes_of_a_patient_are_in_one_split(folder: Path, tmp_path: Path, seed: int) -> None:
    how = shards.Preparation(size=SIZE, workers=1, seed=seed)
    rows, rejects = eyepacs.read(folder)
    dataset = writing.write(tmp_path / "out", name="eyepacs", classes=eyepacs.CLASSES, rows=rows,
                            rejects=rejects, how=how)  # fmt: skip
    places: dict[str, set[str]] = {}
    for id_, example in stored(dataset).items():
        places.setdefault(id_.split("_")[0], set()).add(example["split"])
    assert len(places) == 20
    assert all(len(splits) == 1 for splits in places.values())


def test_a_split_by_image_makes_each_eye_its_own_group(folder: Path) -> None:
    rows, _ = eyepacs.read(folder, split_by="image")
    assert [row.group for row in rows] == [row.id for row in rows]


def test_the_command_writes_the_binary_task(folder: Path, tmp_path: Path) -> None:
    log = logging.getLogger("attnrobust")
    before = list(log.handlers)
    argv = ["--raw", str(folder), "--out", str(tmp_path / "out"), "--size", str(SIZE),
            "--workers", "1"]  # fmt: skip
    try:
        code = prepare.main(eyepacs.NAME, eyepacs.CLASSES, eyepacs.read, tasks=eyepacs.TASKS,
                            split_by=("patient", "image"), argv=argv)  # fmt: skip
    finally:
        log.handlers = before
    assert code == 0
    dataset = records.load(tmp_path / "out")
    assert dataset.classes == ("no_dr", "mild", "moderate", "severe", "proliferative")
    binary = dataset.as_task("binary")
    assert binary.classes == ("negative", "positive")
    assert binary.label_map == (0, 0, 1, 1, 1)
    counts = Counter[str]()
    for split in binary.splits.values():
        counts.update(split["class_counts"])
    assert counts == {"negative": 16, "positive": 24}


REAL = {"no_dr": 200, "mild": 200, "moderate": 200, "severe": 124, "proliferative": 99}


def test_the_real_images_are_all_taken(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "eyepacs"
    rows, rejects = eyepacs.read(folder)
    assert not rejects
    assert Counter(row.label for row in rows) == REAL
    assert len({row.group for row in rows}) == 653
    how = shards.Preparation(size=64, max_rejects=0.0, workers=1)
    dataset = writing.write(tmp_path / "out", name="eyepacs", classes=eyepacs.CLASSES, rows=rows,
                            rejects=rejects, how=how, tasks=eyepacs.TASKS)  # fmt: skip
    found = stored(dataset)
    assert len(found) == 823
    places: dict[str, set[str]] = {}
    for id_, example in found.items():
        places.setdefault(id_.split("_")[0], set()).add(example["split"])
    assert len(places) == 653
    assert all(len(splits) == 1 for splits in places.values())
    binary = dataset.as_task("binary").splits.values()
    assert sum(split["class_counts"]["positive"] for split in binary) == 200 + 124 + 99
