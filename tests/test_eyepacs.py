"""The reader of EyePACS: layout, grades, both eyes of a patient, the binary task."""

import dataclasses
import json
import logging
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from data_helpers import SIZE, colours, encoded, make_eyepacs, pixels, stored
from PIL import Image

from attnrobust.data import discs, fundus, images, prepare, preprocessing, records, shards, writing
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
        ("103_left,3", "103_left,3.5", "level '3.5'"),
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
    dataset = writing.write(
        tmp_path / "out",
        name="eyepacs",
        classes=eyepacs.CLASSES,
        rows=rows,
        rejects=rejects,
        how=how,
    )
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
    argv = [
        "--raw",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--size",
        str(SIZE),
        "--workers",
        "1",
    ]
    try:
        code = prepare.main(
            eyepacs.NAME,
            eyepacs.CLASSES,
            eyepacs.read,
            tasks=eyepacs.TASKS,
            split_by=("patient", "image"),
            argv=argv,
        )
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


def photographs(folder: Path) -> Path:
    """An eye in every file but 103_left, which is black, and 104_left, which shows none."""
    for index, path in enumerate(sorted((folder / "train").iterdir())):
        image = np.zeros((80, 100, 3), np.uint8)
        image[:, :, 0] = index  # no two alike
        if path.stem == "104_left":
            image[:] = 180
        elif path.stem == "105_left":
            image = cv2.circle(np.zeros((80, 100), np.uint8), (50, 40), 30, 180, -1)
        elif path.stem != "103_left":
            cv2.circle(image, (50, 40), 30, (190, 110, 60), -1)
            # A spot of its own: without it Graham's filter makes all eyes alike.
            spot = (36 + 2 * (index % 15), (26, 54, 60)[index // 15])
            cv2.circle(image, spot, 3, (90, 50, 30), -1)
        path.write_bytes(encoded(image))
    return folder


def call(folder: Path, *argv: str) -> int:
    log = logging.getLogger("attnrobust")
    before = list(log.handlers)
    try:
        return prepare.main(
            eyepacs.NAME,
            eyepacs.CLASSES,
            eyepacs.read,
            tasks=eyepacs.TASKS,
            split_by=("patient", "image"),
            draw=eyepacs.draw_steps,
            draw_fitted=False,
            argv=["--raw", str(folder), "--workers", "1", *argv],
        )
    finally:
        log.handlers = before


def test_graham_rejects_what_shows_no_eye_with_its_reason(folder: Path, tmp_path: Path) -> None:
    argv = ("--out", str(tmp_path / "out"), "--fit", "disc", "--filter", "graham", "--size", "32")
    assert call(photographs(folder), *argv, "--max-rejects", "0.1") == 0
    found = stored(records.load(tmp_path / "out"))
    assert len(found) == 38
    rejects = (tmp_path / "out" / "rejects.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in rejects[1:]] == [["8", "103_left"], ["10", "104_left"]]
    assert "black photograph" in rejects[1]
    assert "no eye disc found" in rejects[2]
    eye = pixels(found["100_left"]["image"]).astype(int)
    assert np.abs(eye[0, 0] - 128).max() < 8  # outside the disc; JPEG
    assert np.abs(eye[16, 16] - 128).max() < 8  # one colour; JPEG
    grey = pixels(found["105_left"]["image"]).astype(int)
    assert np.abs(grey - grey[..., :1]).max() < 4


def test_where_the_discs_were_found_is_listed_least_sure_first(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, train = tmp_path / "out", photographs(folder) / "train"
    image = cv2.circle(np.zeros((160, 200, 3), np.uint8), (100, 80), 60, (190, 110, 60), -1)
    notched = cv2.circle(image.copy(), (100 - 44, 80 + 44), 6, (190, 110, 60), -1)
    (train / "102_left.jpeg").write_bytes(encoded(notched))  # where it is, no edge is seen
    argv = ("--out", str(out), "--fit", "disc", "--size", "32", "--max-rejects", "0.1")
    with caplog.at_level(logging.INFO, "attnrobust"):
        assert call(folder, *argv) == 0
    table = pd.read_csv(out / "disc.csv", keep_default_na=False)
    assert tuple(table.columns) == discs.COLUMNS
    assert set(table["id"]) == set(stored(records.load(out)))
    assert (table["rim_seen"].diff().dropna() >= 0).all()
    assert table["id"].iloc[0] == "102_left"
    assert table.iloc[0][["x", "y", "radius"]].tolist() == pytest.approx([100, 80, 60], abs=1)
    assert list(table.loc[table["notch"] != "", ["id", "notch"]].iloc[0]) == [
        "102_left",
        "lower left",
    ]
    other = table[table["id"] == "100_left"].iloc[0]
    assert other[["x", "y", "radius"]].tolist() == pytest.approx([50, 40, 30], abs=1)
    assert other["notch"] == ""
    assert "the least sure is that of 102_left" in caplog.text
    assert table.set_index("id")["turned"][["102_left", "100_left"]].tolist() == [
        "yes",
        "cannot tell",
    ]
    assert "warning: 1 photographs are upside down" in caplog.text
    assert "they are stored so without --turn-inverted (turned in disc.csv)" in caplog.text
    other_out = ("--out", str(tmp_path / "turned"), *argv[2:], "--turn-inverted")
    with caplog.at_level(logging.INFO, "attnrobust"):
        assert call(folder, *other_out) == 0
    assert "and turned back (turned in disc.csv)" in caplog.text
    assert json.loads((tmp_path / "turned" / "dataset.json").read_text())["turn_inverted"] is True
    again = ("--out", str(out), "--size", "32", "--max-rejects", "0.1")
    assert call(folder, *again) == 0, "made anew, of another fit"
    assert not (out / "disc.csv").exists()


@pytest.mark.parametrize("name", ["gaussian_high_pass", "gaussian_high_pass_by_size", "none"])
def test_what_a_filter_clips_is_told(
    name: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half black, half white at 32 px: 20 px of blur leave nearly all of it clipped."""
    for index, path in enumerate(sorted((folder / "train").iterdir())):
        image = np.zeros((32, 32, 3), np.uint8)
        image[:, 16:] = 255
        image[index // 8 * 4, index % 8 * 2] = 130  # no two alike
        path.write_bytes(encoded(image))
    out = tmp_path / "out"
    assert call(folder, "--out", str(out), "--size", "32", "--filter", name) == 0
    clipped = json.loads((out / "dataset.json").read_text()).get("clipped")
    warned = "of the values pure black or white" in caplog.text
    if name == "none":
        assert clipped is None
        assert not warned
    elif name == "gaussian_high_pass":
        source = preprocessing.gaussian_high_pass(image)
        expected = ((source == 0) | (source == 255)).mean()
        assert clipped == pytest.approx(expected, abs=0.05)
        assert clipped > 0.5
        assert warned
        assert "--filter gaussian_high_pass_by_size" in caplog.text
    else:
        assert clipped < 0.3


def test_an_eye_off_the_centre_of_a_square_of_the_right_size_is_moved(
    folder: Path, tmp_path: Path
) -> None:
    image = cv2.circle(np.zeros((64, 64, 3), np.uint8), (25, 36), 20, (190, 110, 60), -1)
    (folder / "train" / "100_left.jpeg").write_bytes(encoded(image))
    rows = [row for row in eyepacs.read(folder)[0] if row.id == "100_left"]
    content, _ = shards.prepare_image(rows[0], shards.Preparation(size=64, fit="disc"))
    lit = pixels(content).max(axis=2) > 60
    assert np.abs(np.array([lit[32].sum(), lit[:, 32].sum()]) - 64).max() <= 4


def test_graham_without_its_disc_is_one_line() -> None:
    with pytest.raises(UserError, match=r"--filter graham: needs .* --fit disc, got stretch"):
        shards.Preparation(filter="graham")
    with pytest.raises(UserError, match="--fit disc: needs a --size above 0"):
        shards.Preparation(fit="disc", size=0)


def test_a_mask_is_not_left_behind_by_the_disc(folder: Path) -> None:
    row = dataclasses.replace(eyepacs.read(folder)[0][0], mask=folder / "mask.png")
    with pytest.raises(images.UnusableImageError, match="cannot move a mask"):
        shards.prepare_mask(row, shards.Preparation(fit="disc"))


def test_the_figure_of_the_steps_and_its_one_line_error(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "steps.png"
    assert call(photographs(folder), "--figure", str(file)) == 0
    with Image.open(file) as image:
        assert (image.format, image.width) == ("PNG", 1875)
    (folder / "train" / "100_left.jpeg").write_bytes(encoded(np.zeros((9, 9, 3), np.uint8)))
    assert call(folder, "--figure", str(tmp_path / "none.png")) != 0
    assert not (tmp_path / "none.png").exists()


REAL = {"no_dr": 200, "mild": 200, "moderate": 200, "severe": 124, "proliferative": 99}


def test_the_real_images_are_all_taken(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "eyepacs"
    rows, rejects = eyepacs.read(folder)
    assert not rejects
    assert Counter(row.label for row in rows) == REAL
    assert len({row.group for row in rows}) == 653
    how = shards.Preparation(size=64, max_rejects=0.0, workers=1)
    dataset = writing.write(
        tmp_path / "out",
        name="eyepacs",
        classes=eyepacs.CLASSES,
        rows=rows,
        rejects=rejects,
        how=how,
        tasks=eyepacs.TASKS,
    )
    found = stored(dataset)
    assert len(found) == 823
    places: dict[str, set[str]] = {}
    for id_, example in found.items():
        places.setdefault(id_.split("_")[0], set()).add(example["split"])
    assert len(places) == 653
    assert all(len(splits) == 1 for splits in places.values())
    binary = dataset.as_task("binary").splits.values()
    assert sum(split["class_counts"]["positive"] for split in binary) == 200 + 124 + 99


@pytest.mark.slow
def test_the_disc_is_found_in_all_real_images(real_data: Path) -> None:
    rows, _ = eyepacs.read(real_data / "eyepacs")
    radii = {}
    for row in rows:
        image, _ = images.load_image(row.path.read_bytes(), max_megapixels=50)
        radii[row.id] = fundus.find_disc(image).radius
    assert len(radii) == 823
    by_eye = {
        "13770_left": 87,
        "16280_right": 113,
        "11072_left": 114,
        "14293_left": 116,
        "15557_right": 125,
        "11147_right": 122,
        "10785_left": 128,
        "12307_right": 81,
        "17089_right": 115,
        "15941_left": 114,
        "1084_left": 124,
        "14336_left": 111,
    }
    assert {id_: radii[id_] for id_ in by_eye} == pytest.approx(by_eye, rel=0.03)
    # Most were cropped to the disc; the least are the small ones on a noisy ground.
    assert np.percentile(list(radii.values()), [0, 5, 50, 100]) == pytest.approx(
        [81, 118, 127, 143], abs=2
    )
