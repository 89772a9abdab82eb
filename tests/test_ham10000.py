"""The reader of HAM10000: its layouts, its columns, its classes, and the real images."""

import functools
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from data_helpers import (
    PARTS,
    encoded,
    image_file,
    make_raw,
    mask,
    read_table,
    stored,
    write_table,
)

from attnrobust.data import records, shards, writing
from attnrobust.errors import UserError
from tfrecords import ham10000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_raw(tmp_path / "raw")


def together(folder: Path, name: str) -> None:
    """Move all images into one folder (an empty name: beside the CSV)."""
    (folder / name).mkdir(exist_ok=True)
    for part in PARTS:
        for path in (folder / part).iterdir():
            path.rename(folder / name / path.name)
        (folder / part).rmdir()


def test_rows_have_image_label_group_and_line(folder: Path) -> None:
    rows, rejects = ham10000.read(folder)
    assert not rejects
    table = read_table(folder)
    assert len(rows) == len(table) == 35
    for line, (row, entry) in enumerate(zip(rows, table, strict=True), 2):
        assert (row.id, row.label, row.group) == (
            entry["image_id"],
            entry["dx"],
            entry["lesion_id"],
        )
        assert row.line == line
        assert row.path == image_file(folder, row.id)
        assert row.mask is None


@pytest.mark.parametrize("place", ["images", ""])
def test_images_may_lie_in_one_folder_or_beside_the_table(folder: Path, place: str) -> None:
    together(folder, place)
    rows, rejects = ham10000.read(folder)
    assert not rejects
    assert [row.path for row in rows] == [folder / place / f"{row.id}.jpg" for row in rows]


def test_images_may_be_spread_over_all_places(folder: Path) -> None:
    (folder / "images").mkdir()
    image_file(folder, "ISIC_0000").rename(folder / "images" / "ISIC_0000.JPG")
    image_file(folder, "ISIC_0001").rename(folder / "ISIC_0001.jpeg")
    rows, rejects = ham10000.read(folder)
    assert not rejects
    assert rows[0].path == folder / "images" / "ISIC_0000.JPG"
    assert rows[1].path == folder / "ISIC_0001.jpeg"


def test_masks_are_found_by_the_name_of_their_image(folder: Path) -> None:
    (folder / ham10000.MASKS).mkdir()
    path = folder / ham10000.MASKS / "ISIC_0010_segmentation.png"
    path.write_bytes(encoded(mask(), "PNG"))
    rows, _ = ham10000.read(folder)
    assert {row.id: row.mask for row in rows if row.mask} == {"ISIC_0010": path}


def test_a_split_by_image_makes_each_image_its_own_group(folder: Path) -> None:
    rows, _ = ham10000.read(folder, split_by="image")
    assert [row.group for row in rows] == [row.id for row in rows]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("dx", "scc", "unknown dx 'scc', known: akiec, bcc, bkl, df, mel, nv, vasc"),
        ("dx", "", "unknown dx ''"),
        ("dx", "NV", "unknown dx 'NV'"),
        ("lesion_id", "", "empty lesion_id"),
        ("lesion_id", "  ", "empty lesion_id"),
        ("image_id", "ISIC_9999", "no image file of this name"),
        ("image_id", "", "unsafe id"),
        ("image_id", "../ISIC_0001", "unsafe id"),
        ("image_id", "ISIC_0020", "id stands in lines 4, 5"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_with_its_line(
    folder: Path, column: str, value: str, reason: str
) -> None:
    table = read_table(folder)
    assert table[3]["image_id"] == "ISIC_0020"
    table[2][column] = value
    write_table(folder, table)
    rows, rejects = ham10000.read(folder)
    assert {reject.line for reject in rejects} == ({4, 5} if value == "ISIC_0020" else {4})
    assert all(reason in reject.reason for reject in rejects)
    assert len(rows) + len(rejects) == 35


def test_lines_are_those_of_an_editor_even_after_blank_ones(folder: Path) -> None:
    path = folder / ham10000.TABLE
    head, *lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(",akiec,", ",scc,")
    path.write_text("\n".join([head, lines[0], "", "", *lines[1:]]))
    rows, rejects = ham10000.read(folder)
    assert [reject.line for reject in rejects] == [7]
    assert path.read_text().splitlines()[7 - 1] == lines[3]
    assert len(rows) == 34


def test_a_missing_folder_table_column_or_image_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        ham10000.read(folder / "none")
    table = folder / ham10000.TABLE
    text = table.read_text()
    table.write_text(text.replace("dx,", "verdict,", 1))
    with pytest.raises(UserError, match=re.escape(f"{table}: no column dx; it has lesion_id")):
        ham10000.read(folder)
    table.unlink()
    with pytest.raises(UserError, match=re.escape(f"{table}: not there")):
        ham10000.read(folder)
    table.write_text(text)
    for part in PARTS:
        shutil.rmtree(folder / part)
    with pytest.raises(UserError, match=r"no \.jpg or \.jpeg image in .*HAM10000_images_part_1"):
        ham10000.read(folder)


def test_write_uses_the_default_split(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = functools.partial(shards.Preparation, workers=1)
    monkeypatch.setattr(ham10000.shards, "Preparation", alone)
    ham10000.write(folder, tmp_path / "out", name="demo", size=16)
    dataset = records.load(tmp_path / "out")
    assert (dataset.name, dataset.size, dataset.classes) == ("demo", 16, ham10000.CLASSES)
    assert len(stored(dataset)) == 35
    assert dataset.count("train") > dataset.count("test") > 0


REAL = {"bkl": 300, "mel": 300, "nv": 300, "bcc": 198, "akiec": 137, "vasc": 60, "df": 45}


@pytest.mark.slow
def test_the_real_images_are_all_taken(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "ham10000"
    rows, rejects = ham10000.read(folder)
    assert not rejects
    assert Counter(row.label for row in rows) == REAL
    how = shards.Preparation(size=224, max_rejects=0.0, workers=1)
    dataset = writing.write(
        tmp_path / "out",
        name="ham10000",
        classes=ham10000.CLASSES,
        rows=rows,
        rejects=rejects,
        how=how,
    )
    found = stored(dataset)
    assert len(found) == 1340
    assert (tmp_path / "out" / "rejects.csv").read_text() == "line,id,reason\n"
    lesion_of = {row["image_id"]: row["lesion_id"] for row in read_table(folder)}
    lesions: dict[str, set[str]] = {split: set() for split in dataset.splits}
    for id_, example in found.items():
        lesions[example["split"]].add(lesion_of[id_])
        assert example["image"] == (folder / "images" / f"{id_}.jpg").read_bytes()
    assert not lesions["train"] & lesions["validation"]
    assert not lesions["train"] & lesions["test"]
    assert not lesions["validation"] & lesions["test"]
    totals = Counter(dataset.classes[example["label"]] for example in found.values())
    assert totals == REAL
    for name, number in REAL.items():
        counts = [dataset.splits[split]["class_counts"][name] for split in dataset.splits]
        assert counts == [
            number - round(0.1 * number) - round(0.2 * number),
            round(0.1 * number),
            round(0.2 * number),
        ]
