"""The reader of ChestX-ray14: layouts, findings, the official split, the filter's records."""

import logging
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from data_helpers import XRAY_HEADER, colours, encoded, make_chestxray14, pixels, stored
from PIL import Image

from attnrobust.data import prepare, preprocessing, records, shards, writing
from attnrobust.errors import UserError
from tfrecords import chestxray14, chestxray14_abnormal

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_chestxray14(tmp_path / "raw")


def edit(folder: Path, before: str, after: str) -> None:
    path = folder / chestxray14.TABLE
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


def write_lists(folder: Path, *, test: range, train: range = range(1, 21)) -> None:
    """The official lists, by patient number; the train list leaves out the test list's patients."""
    lists = {"test_list.txt": test, "train_val_list.txt": [n for n in train if n not in test]}
    for name, patients in lists.items():
        lines = [f"{n:08d}_{k:03d}.png" for n in patients for k in range(2)]
        (folder / name).write_text("\n".join(lines))


def write(folder: Path, out: Path, **changes: object) -> records.Dataset:
    rows, rejects = chestxray14.read(folder)
    settings = {"size": 16, "workers": 1, "max_rejects": 1.0, "filter": chestxray14.FILTER}
    how = shards.Preparation(**{**settings, **changes})  # type: ignore[arg-type]
    return writing.write(
        out, name="chestxray14", classes=chestxray14.CLASSES, rows=rows, rejects=rejects, how=how
    )


def call(folder: Path, *options: str) -> int:
    log = logging.getLogger("attnrobust")
    before = list(log.handlers)
    try:
        return prepare.main(
            chestxray14.NAME,
            chestxray14.CLASSES,
            chestxray14.read,
            split_by=("patient",),
            image_filter=chestxray14.FILTER,
            draw=chestxray14.draw_steps,
            argv=["--raw", str(folder), "--size", "16", "--workers", "1", *options],
        )
    finally:
        log.handlers = before


def test_rows_have_label_patient_and_line(folder: Path) -> None:
    rows, rejects = chestxray14.read(folder)
    assert not rejects
    assert len(rows) == 40
    assert (rows[0].id, rows[0].label, rows[0].group, rows[0].line, rows[0].split) == (
        "00000001_000",
        "no_pneumothorax",
        "1",
        2,
        "",
    )
    assert rows[0].path == folder / "images" / "00000001_000.png"
    assert Counter(row.label for row in rows) == {"no_pneumothorax": 30, "pneumothorax": 10}


@pytest.mark.parametrize(
    "header",
    [
        XRAY_HEADER,
        XRAY_HEADER.rstrip(","),
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View "
        "Position,OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,"
        "OriginalImagePixelSpacing_y",
    ],
)
def test_the_header_with_and_without_its_last_comma(folder: Path, header: str) -> None:
    path = folder / chestxray14.TABLE
    _, *lines = path.read_text().splitlines()
    without = [line.rstrip(",") for line in lines]
    for ends in [without] if header != XRAY_HEADER else [lines, without]:
        path.write_text("\n".join([header, *ends]))
        rows, rejects = chestxray14.read(folder)
        assert (len(rows), rejects) == (40, [])


def test_a_header_without_a_needed_column_is_one_line(folder: Path) -> None:
    edit(folder, "Finding Labels", "Findings")
    with pytest.raises(UserError, match="no column Finding Labels; it has Image Index, Findings"):
        chestxray14.read(folder)


@pytest.mark.parametrize(
    "places",
    [
        ("images_001/images", "images_002/images", "images_012/images"),
        ("images_001", "images_007"),
        ("images",),
        ("images_001/images", "images_002", "images"),
    ],
)
def test_images_may_lie_as_downloaded_or_in_one_folder(
    folder: Path, places: tuple[str, ...]
) -> None:
    (folder / "images").rename(folder / "old")
    for number, path in enumerate(sorted((folder / "old").iterdir())):
        place = folder / places[number % len(places)]
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
    rows, rejects = chestxray14.read(folder)
    assert (len(rows), rejects) == (40, [])
    assert all(row.path.is_file() for row in rows)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("00000002_001.png,No Finding", "00000002_001.png,Fracture", "unknown finding 'Fracture'"),
        ("00000002_001.png,No Finding", "00000002_001.png,Mass|mass", "unknown finding 'mass'"),
        ("00000002_001.png,No Finding", "00000002_001.png,", "unknown finding ''"),
        ("00000002_001.png,No Finding", "00000002_001.png,No Finding|Mass", "beside a finding"),
        ("00000002_001.png,No Finding,1,2,", "00000002_001.png,No Finding,1,,", "empty Patient ID"),
        ("00000002_001.png", "00000002_009.png", "no image file of this name"),
        ("00000002_001.png", "../00000002_001.png", "unsafe id"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_with_its_line(
    folder: Path, before: str, after: str, reason: str
) -> None:
    edit(folder, before, after)
    rows, rejects = chestxray14.read(folder)
    assert [reject.line for reject in rejects] == [5]
    assert reason in rejects[0].reason
    assert len(rows) == 39


def test_a_pneumothorax_counts_wherever_it_stands(folder: Path) -> None:
    edit(folder, "00000002_001.png,No Finding", "00000002_001.png,Pneumothorax|Mass|Hernia")
    edit(folder, "00000003_001.png,No Finding", "00000003_001.png,Mass|Pleural_Thickening")
    label = {row.id: row.label for row in chestxray14.read(folder)[0]}
    assert label["00000002_001"] == "pneumothorax"
    assert label["00000003_001"] == "no_pneumothorax"


def test_without_lists_each_patient_is_in_one_split(folder: Path, tmp_path: Path) -> None:
    found = stored(write(folder, tmp_path / "out"))
    places: dict[str, set[str]] = {}
    for example in found.values():
        places.setdefault(example["group"], set()).add(example["split"])
    assert len(found) == 40
    assert len(places) == 20
    assert all(len(splits) == 1 for splits in places.values())


def test_a_split_by_image_makes_each_xray_its_own_group_and_goes_without_the_lists(
    folder: Path,
) -> None:
    rows, _ = chestxray14.read(folder, split_by="image")
    assert [row.group for row in rows] == [row.id for row in rows]
    write_lists(folder, test=range(1, 5))
    with pytest.raises(UserError, match=r"--split-by image: train_val_list.txt and test_list.txt"):
        chestxray14.read(folder, split_by="image")


def test_the_official_lists_decide_the_test_split(folder: Path, tmp_path: Path) -> None:
    write_lists(folder, test=range(4, 10))
    dataset = write(folder, tmp_path / "out")
    groups = {
        split: {example["group"] for example in stored(dataset, split).values()}
        for split in dataset.splits
    }
    assert groups["test"] == {"4", "5", "6", "7", "8", "9"}
    # Of the 11 others without and the 3 with pneumothorax, 1/8 is validation: round(1.4), round(.4)
    assert len(groups["validation"]) == 1
    assert len(groups["train"]) == 13
    assert not groups["train"] & groups["validation"]


def test_lists_that_name_absent_images_are_a_subset_said_in_one_line(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_lists(folder, test=range(15, 31), train=range(1, 1015))
    rows, rejects = chestxray14.read(folder)
    assert (len(rows), rejects) == (40, [])
    said = [record.message for record in caplog.records]
    # 1,014 patients are listed and 20 are there, two images each.
    assert said == [
        f"train_val_list.txt and test_list.txt name 1,988 images that "
        f"{chestxray14.TABLE} does not: taken for a subset"
    ]


def test_a_row_in_neither_list_is_rejected(folder: Path) -> None:
    write_lists(folder, test=range(4, 10), train=range(1, 20))
    rows, rejects = chestxray14.read(folder)
    assert len(rows) == 38
    assert [reject.id for reject in rejects] == ["00000020_000", "00000020_001"]
    assert "in neither train_val_list.txt nor test_list.txt" in rejects[0].reason


def test_a_patient_in_both_lists_is_refused_by_name(folder: Path) -> None:
    write_lists(folder, test=range(4, 10))
    path = folder / "test_list.txt"
    path.write_text(path.read_text().replace("00000005_001.png\n", ""))
    train = folder / "train_val_list.txt"
    train.write_text(train.read_text() + "\n00000005_001.png\n")
    with pytest.raises(UserError, match=r"patient 5 is in both .* 00000005_000 and 00000005_001"):
        chestxray14.read(folder)
    path.write_text(path.read_text() + "\n00000005_001.png")
    with pytest.raises(UserError, match=r"00000005_001 stands in train_val_list\.txt too"):
        chestxray14.read(folder)


def test_lists_that_give_no_split_are_refused(folder: Path) -> None:
    write_lists(folder, test=range(30, 32))
    with pytest.raises(UserError, match="none of the usable images stands in test_list"):
        chestxray14.read(folder)
    (folder / "test_list.txt").write_text("")
    (folder / "train_val_list.txt").write_text("\n")
    with pytest.raises(UserError, match="no image in it"):
        chestxray14.read(folder)
    (folder / "test_list.txt").unlink()
    with pytest.raises(UserError, match="there without the other"):
        chestxray14.read(folder)


def test_one_picture_in_both_lists_is_refused_by_both_ids(folder: Path, tmp_path: Path) -> None:
    write_lists(folder, test=range(4, 10))
    copy = (folder / "images" / "00000001_000.png").read_bytes()
    (folder / "images" / "00000005_001.png").write_bytes(copy)
    with pytest.raises(UserError, match="00000001_000 and 00000005_001 are the same image"):
        write(folder, tmp_path / "out")


def test_grey_and_opaque_rgba_are_taken_and_counted_and_16_bits_are_rejected(
    folder: Path, tmp_path: Path
) -> None:
    picture = colours(77)
    rgba = np.dstack([picture, np.full((16, 16), 255, np.uint8)])
    (folder / "images" / "00000001_000.png").write_bytes(encoded(rgba, "PNG"))
    deep = Image.fromarray(colours(5)[..., 0].astype(np.uint16) * 257)
    deep.save(folder / "images" / "00000002_000.png")
    dataset = write(folder, tmp_path / "out", filter="none")
    described = (tmp_path / "out" / "dataset.json").read_text()
    assert re.search(r'"transparency": 1', described)
    assert re.search(r'"grey": 38', described)
    found = stored(dataset)
    np.testing.assert_array_equal(pixels(found["00000001_000"]["image"]), picture)
    assert "00000002_000" not in found
    assert "more than 8 bits a channel" in (tmp_path / "out" / "rejects.csv").read_text()


def test_records_hold_the_filtered_image_and_name_the_filter(folder: Path, tmp_path: Path) -> None:
    found = stored(write(folder, tmp_path / "out"))
    for name in ("00000001_000", "00000020_001"):
        source = pixels((folder / "images" / f"{name}.png").read_bytes())
        expected = preprocessing.gaussian_high_pass(source)
        assert not np.array_equal(expected, source)
        np.testing.assert_array_equal(pixels(found[name]["image"]), expected)
    assert '"filter": "gaussian_high_pass"' in (tmp_path / "out" / "dataset.json").read_text()


def test_the_filter_comes_after_the_fit(folder: Path, tmp_path: Path) -> None:
    found = stored(write(folder, tmp_path / "out", size=8))
    source = pixels((folder / "images" / "00000003_000.png").read_bytes())
    expected = preprocessing.gaussian_high_pass(preprocessing.stretch(source, 8))
    assert np.abs(pixels(found["00000003_000"]["image"]).astype(int) - expected).max() <= 6  # JPEG


def test_the_command_filters_unless_told_otherwise(folder: Path, tmp_path: Path) -> None:
    assert call(folder, "--out", str(tmp_path / "a")) == 0
    assert call(folder, "--out", str(tmp_path / "b"), "--filter", "none") == 0
    filtered, plain = (stored(records.load(tmp_path / name)) for name in "ab")
    assert filtered["00000001_000"]["image"] != plain["00000001_000"]["image"]
    assert records.load(tmp_path / "a").hash != records.load(tmp_path / "b").hash


def test_the_figure_of_the_steps_and_no_records(folder: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "steps.png", tmp_path / "out"
    assert call(folder, "--out", str(out), "--figure", str(file)) == 0
    with Image.open(file) as image:
        assert (image.format, image.width) == ("PNG", 1875)
    assert not out.exists()


def test_other_data_sets_have_no_figure() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tfrecords.ham10000", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--filter" in done.stdout
    assert "--figure" not in done.stdout


@pytest.mark.parametrize(
    ("findings", "label"),
    [("No Finding", "no_finding"), ("Mass", "finding"), ("Pneumothorax|Mass|Hernia", "finding")],
)
def test_any_finding_or_none(folder: Path, findings: str, label: str) -> None:
    edit(folder, "00000002_001.png,No Finding", f"00000002_001.png,{findings}")
    rows, rejects = chestxray14_abnormal.read(folder)
    of = {row.id: row for row in rows}
    assert (len(rows), rejects, of["00000002_001"].label) == (40, [], label)
    assert of["00000004_000"].label == "finding"
    assert {row.label for row in rows} == set(chestxray14_abnormal.CLASSES)
    plain, _ = chestxray14.read(folder)
    assert [(row.id, row.group, row.split) for row in rows] == [
        (row.id, row.group, row.split) for row in plain
    ]
    by_image, _ = chestxray14_abnormal.read(folder, split_by="image")
    assert len({row.group for row in by_image}) == 40


def test_any_finding_or_none_among_the_real_images(real_data: Path) -> None:
    rows, rejects = chestxray14_abnormal.read(real_data / "chestxray14")
    assert not rejects
    assert Counter(row.label for row in rows) == {"finding": 370, "no_finding": 230}


def test_the_real_images_are_all_taken(real_data: Path, tmp_path: Path) -> None:
    rows, rejects = chestxray14.read(real_data / "chestxray14")
    assert not rejects
    assert Counter(row.label for row in rows) == {"no_pneumothorax": 560, "pneumothorax": 40}
    assert len({row.group for row in rows}) == 556
    dataset = write(real_data / "chestxray14", tmp_path / "out", size=64, max_rejects=0.0)
    found = stored(dataset)
    assert len(found) == 600
    places: dict[str, set[str]] = {}
    for example in found.values():
        places.setdefault(example["group"], set()).add(example["split"])
    assert all(len(splits) == 1 for splits in places.values())
    values = [pixels(example["image"]).mean() for example in found.values()]
    assert 90 < np.mean(values) < 166, "the high-pass is centred on 128"
