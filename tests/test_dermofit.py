"""The reader of Dermofit: class folders, image folders, masks, patients, near misses."""

import logging
import re
from pathlib import Path

import pytest
from data_helpers import SIZE, colours, encoded, mask, reject_reasons, stored

from attnrobust.data import places, raw, records, shards, writing
from attnrobust.errors import UserError
from tfrecords import dermofit

CODES = [label.upper() for label in dermofit.CLASSES]


def draw(folder: Path, name: str, seed: int, *, masked: bool = True) -> None:
    folder.mkdir(parents=True)
    (folder / f"{name}.png").write_bytes(encoded(colours(seed), "PNG"))
    if masked:
        (folder / f"{name}mask.png").write_bytes(encoded(mask(), "PNG"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten classes with four images each, called A0 to J3."""
    for number, code in enumerate(CODES):
        for image in range(4):
            name = f"{'ABCDEFGHIJ'[number]}{image}"
            draw(tmp_path / "raw" / code / name, name, 10 * number + image)
    return tmp_path / "raw"


def test_each_image_has_its_class_and_its_mask(folder: Path, caplog) -> None:
    caplog.set_level(logging.INFO, "attnrobust")
    rows, rejects = dermofit.read(folder)
    assert rejects == []
    assert [(row.id, row.label, row.line) for row in rows[:2]] == [("A0", "ak", 1), ("A1", "ak", 2)]
    labels = {label: [row.id for row in rows if row.label == label] for label in dermofit.CLASSES}
    assert all(len(ids) == 4 for ids in labels.values())
    assert labels["mel"] == ["J0", "J1", "J2", "J3"]
    assert all(row.mask == row.path.with_name(f"{row.id}mask.png") for row in rows)
    assert [row.group for row in rows] == [row.id for row in rows]
    assert "the library names no patients" in caplog.text
    assert "no mask" not in caplog.text


def test_patients_stay_together_where_a_table_names_them(folder: Path, caplog) -> None:
    lines = [f"{row.id}.png,{row.line // 3}" for row in dermofit.read(folder)[0]]
    caplog.clear()
    (folder / "Patients.csv").write_text("\n".join(["image,patient", *lines[:-1], "H3,"]))
    rows, rejects = dermofit.read(folder)
    assert [row.group for row in rows[:4]] == ["0", "0", "1", "1"]
    assert [(reject.id, reject.missing) for reject in rejects] == [("H3", False)]
    assert "no patient in patients.csv" in rejects[0].reason
    assert "names no patients" not in caplog.text
    assert dermofit.read(folder, split_by="image")[0][0].group == "A0"
    (folder / "Patients.csv").write_text("picture,patient\nA0,1\n")
    with pytest.raises(UserError, match=r"Patients\.csv: .*image"):
        dermofit.read(folder)


def test_half_of_the_patients_are_for_the_test(folder: Path, tmp_path: Path) -> None:
    rows, rejects = dermofit.read(folder)
    how = shards.Preparation(size=SIZE, fractions=(0.5, 0.0, 0.5), workers=1)
    writing.write(
        tmp_path / "out",
        name="dermofit",
        classes=dermofit.CLASSES,
        rows=rows,
        rejects=rejects,
        how=how,
    )
    found = records.load(tmp_path / "out")
    assert found.classes == dermofit.CLASSES
    test = stored(found, "test")
    assert len(test) == 20, "two of each class"
    assert all(len(each["mask"]) > 0 for each in test.values()), "PNG bytes"


def test_names_in_full_nested_folders_and_leftovers(folder: Path) -> None:
    (folder / "AK").rename(folder / "Actinic_Keratosis")
    (folder / "ML").rename(folder / "x")
    (folder / "ML").mkdir()
    (folder / "x").rename(folder / "ML" / "ML")
    (folder / "__MACOSX" / "AK").mkdir(parents=True)
    (folder / "BCC" / ".DS_Store").write_bytes(b"x")
    (folder / "notes").mkdir()
    rows, rejects = dermofit.read(folder)
    assert (len(rows), rejects) == (40, [])
    assert {row.label for row in rows if row.id in ("A0", "C0")} == {"ak", "ml"}


def test_what_cannot_be_used_is_rejected_with_its_reason(folder: Path, caplog) -> None:
    caplog.set_level(logging.INFO, "attnrobust")
    ak = folder / "AK"
    (ak / "A0" / "A0mask.png").unlink()
    (ak / "A1" / "A1mask.png").rename(ak / "A1" / "A2mask.png")
    (ak / "A2" / "other.png").write_bytes(encoded(colours(0), "PNG"))
    for path in (ak / "A3").iterdir():
        path.unlink()
    (ak / "loose.png").write_bytes(encoded(colours(1), "PNG"))
    draw(folder / "BCC" / "E0", "E0", 77)
    draw(folder / "SK" / "odd", "a#b", 78)
    rows, rejects = dermofit.read(folder)
    assert len(rows) == 37
    assert rows[0].mask is None
    assert "1 images have no mask" in caplog.text
    reasons = {reject.id: reject.reason for reject in rejects}
    assert reasons["A1"] == "A2mask.png beside A1.png; expected A1mask.png"
    assert reasons["A2"].startswith(
        "A2.png, A2mask.png, other.png in its folder; expected an image"
    )
    assert reasons["A3"].startswith("no image in its folder")
    assert reasons["loose.png"] == "lies in AK itself; expected AK/NAME/loose.png"
    assert reasons["E0"] == "BCC/E0/E0.png has the same name"
    assert reasons["a#b"].startswith("unsafe id")
    assert [reject.id for reject in rejects if reject.missing] == ["A3"]
    assert len({reject.line for reject in rejects}) == len(rejects)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("above", r"no folder of a class; expected .*; .*raw has some: name --raw .*raw"),
        ("below", r"AK: no folder of a class; .*; this is one class alone: name --raw .*raw$"),
        ("unknown", r"no class, named by a folder of .*, 'basal carcinoma'; did you mean basal"),
        ("packed", r"AK\.zip is there: unpack it"),
        ("nowhere", r"no such folder"),
    ],
)
def test_layouts_that_are_nearly_right_are_told_so(folder: Path, change: str, message: str) -> None:
    place = folder
    if change == "above":
        place = folder.parent
    elif change == "below":
        place = folder / "AK"
    elif change == "unknown":
        (folder / "BCC").rename(folder / "Basal_Carcinoma")
    elif change == "packed":
        place = folder / "new"
        place.mkdir()
        (place / "AK.zip").write_bytes(b"PK")
    else:
        place = folder / "nothing"
    with pytest.raises(UserError) as caught:
        dermofit.read(place)
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)


def test_classes_that_are_not_there_are_named(folder: Path, caplog) -> None:
    (folder / "PYO").rename(folder.parent / "PYO")
    rows, _ = dermofit.read(folder)
    assert len(rows) == 36
    assert re.search(r"raw: no folder of pyo$", caplog.text, re.MULTILINE)


def test_the_command_writes_records_and_rejects(folder: Path, tmp_path: Path) -> None:
    (folder / "AK" / "loose.png").write_bytes(encoded(colours(1), "PNG"))
    out = tmp_path / "out"
    words = ["--raw", str(folder), "--out", str(out), "--size", str(SIZE), "--workers", "1"]
    assert dermofit.main([*words, "--max-rejects", "0.1", "--split", "0.4", "0.1", "0.5"]) == 0
    assert "lies in AK itself" in reject_reasons(out / "rejects.csv")["loose.png"]
    assert places.files(out)
    assert raw.SPLITS == ("train", "validation", "test")
