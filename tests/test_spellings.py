"""One patient, one lesion, one grade, however a spreadsheet wrote it: for every reader."""

import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from data_helpers import XRAY_HEADER, colours, encoded

from attnrobust.data import raw, splits
from attnrobust.data.raw import Row
from tfrecords import (
    chestxray14,
    chestxray14_abnormal,
    covid_cxr,
    covid_cxr_actualmed,
    eyepacs,
    ham10000,
    ham10000_balanced,
)

WRITTEN = ("{}", "{}.0", "{:04d}", '"{},0"')
PATIENTS = range(1, 21)


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(path.name.encode())
    path.write_bytes(encoded(colours(seed), "PNG" if path.suffix == ".png" else "JPEG"))


# Of a patient's number, which of its images it is, and the number as written: file, line.
Written = Callable[[int, int, str], tuple[str, str]]


def xray(number: int, which: int, written: str) -> tuple[str, str]:
    name = f"{number:08d}_{which:03d}.png"
    finding = "Pneumothorax" if number % 3 == 0 else "No Finding"
    return f"images/{name}", f"{name},{finding},{which},{written},60,M,PA,1,1,.1,.1"


def covid(number: int, which: int, written: str) -> tuple[str, str]:
    name, finding = f"{number}-{which}.png", ("COVID-19", "No Finding")[number % 2]
    return f"images/{name}", f"{written},{finding},PA,{name},{name},"


def eye(number: int, which: int, written: str) -> tuple[str, str]:
    name = f"{written}_{('left', 'right')[which % 2]}"
    return f"train/{name}.jpeg", f"{name},{number % 5}"


def lesion(number: int, which: int, written: str) -> tuple[str, str]:
    name = f"ISIC_{number:04d}_{which}"
    return f"images/{name}.jpg", f"{written},{name},{('nv', 'bkl', 'mel')[number % 3]}"


XRAYS = ("Data_Entry_2017.csv", XRAY_HEADER.rstrip(","), xray)
COVID = ("metadata.csv", "patientid,finding,view,filename,imagename,notes", covid)
LESIONS = ("HAM10000_metadata.csv", "lesion_id,image_id,dx", lesion)
LAYOUTS: dict[ModuleType, tuple[str, str, Written]] = {
    chestxray14: XRAYS,
    chestxray14_abnormal: XRAYS,
    covid_cxr: COVID,
    covid_cxr_actualmed: COVID,
    eyepacs: ("trainLabels.csv", "image,level", eye),
    ham10000: LESIONS,
    ham10000_balanced: LESIONS,
}


def make(folder: Path, reader: ModuleType) -> None:
    """A raw folder in which each patient's number is written in four ways."""
    table, header, written = LAYOUTS[reader]
    lines = [header]
    for number in PATIENTS:
        # A comma in an image's name is an unsafe id, which no reader takes.
        for which, how in enumerate(WRITTEN[:3] if reader is eyepacs else WRITTEN):
            file, line = written(number, which, how.format(number))
            image(folder / file)
            lines.append(line)
    (folder / table).write_text("\n".join(lines) + "\n")


def split_of(rows: list[Row]) -> dict[str, str]:
    """Split of each image."""
    hashes = [raw.content_hash(row.path) for row in rows]
    rows, _, _ = splits.merge_duplicates(rows, hashes)
    shares = {"train": 0.7, "validation": 0.1, "test": 0.2}
    found = splits.split_by_group(rows, fractions=shares, seed=0)
    return {row.id: found[row.group] for row in rows}


@pytest.mark.parametrize("reader", LAYOUTS, ids=lambda reader: reader.NAME)
def test_a_patient_written_in_four_ways_is_in_one_split(reader: ModuleType, tmp_path: Path) -> None:
    make(tmp_path, reader)
    rows, rejects = reader.read(tmp_path)
    assert not rejects
    where = defaultdict(set)
    for id_, split in split_of(rows).items():
        number = id_.removeprefix("ISIC_").replace("-", "_").split("_")[0]
        where[round(float(number))].add(split)
    assert len(where) >= 18
    assert all(len(found) == 1 for found in where.values())
    assert len({split for found in where.values() for split in found}) > 1


@pytest.mark.parametrize(
    "text",
    [
        "7",
        "7.0",
        "7.",
        "7.00",
        "007",
        "+7",
        "7e0",
        " 7 ",
        "007.0",
        "7\u200b",
        "\u200e7",
        "\ufeff7",
        "7,0",
        "7,",
        "007,00",
        "٧",
        "７",
    ],
)
def test_a_whole_number_has_one_spelling(text: str) -> None:
    assert raw.whole_number(text) == "7"
    assert Row("a", Path("a"), "nv", text, 2).group == "7"


@pytest.mark.parametrize(
    "text", ["7a", "7.5", "a7", "7.0.1", "-7", "", "HAM_0000118", "7,5", "7,000", "7,0,0", "7e-1"]
)
def test_other_names_stay_as_they_are(text: str) -> None:
    assert raw.whole_number(text) == text


def test_large_numbers_lose_no_digit() -> None:
    assert raw.whole_number("12345678901234567891") == "12345678901234567891"
    assert raw.whole_number("1.2345e+16") == "12345000000000000"
    assert raw.whole_number("0" * 5000 + "2" * 5000) == "2" * 5000


@pytest.mark.parametrize(
    "spellings",
    [
        ("P7", "p7"),
        ("HAM_0000118", "HAM_118"),
        ("ANON 91", "ANON91"),
        ("a.07", "A.07"),
        ("P7", "P-7"),
        ("P_7", "P–7"),
        ("7", "'7"),
        ("7", '="7"'),
        ("P7", "P7.0"),
        ("P007.00", "p 7"),
        ("1234", "1,234"),
        ("1234", "1,234.0"),
        ("1-07", "1/7"),
        ("#7", "7"),
    ],
)
def test_groups_that_differ_in_form_alone_are_taken_as_one_and_said(
    spellings: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rows = [
        Row(f"i{n}", Path("x"), "nv", group, n)
        for n, group in enumerate((*spellings, "P70", "HAM_1180", "ANON 9"))
    ]
    kept, rejects, copies = splits.merge_duplicates(rows, [""] * 5)
    assert (rejects, copies) == ([], 0)
    assert kept[0].group == kept[1].group
    assert len({row.group for row in kept}) == 4
    assert f"written in several ways and taken as one each: {min(spellings)} = " in caplog.text


@pytest.mark.parametrize(
    "names", [("1-23", "12-3"), ("P1", "P10"), ("1.5", "15"), ("a1b2", "a12b"), ("+", "-")]
)
def test_groups_that_differ_in_more_than_form_stay_two(names: tuple[str, str]) -> None:
    rows = [Row(f"i{n}", Path("x"), "nv", group, n) for n, group in enumerate(names)]
    kept, _, _ = splits.merge_duplicates(rows, ["", ""])
    assert [row.group for row in kept] == list(names)


def test_a_file_named_for_another_patient_is_rejected(tmp_path: Path) -> None:
    make(tmp_path, chestxray14)
    path = tmp_path / "Data_Entry_2017.csv"
    path.write_text(
        path.read_text().replace(
            "00000002_001.png,No Finding,1,2.0", "00000002_001.png,No Finding,1,20"
        )
    )
    rows, rejects = chestxray14.read(tmp_path)
    assert [(reject.line, reject.id) for reject in rejects] == [(7, "00000002_001")]
    assert rejects[0].reason == "Patient ID '20', but the file's name says 00000002"
    assert len(rows) == 79


@pytest.mark.parametrize("level", ["2.0", "2.", "02", "2"])
def test_a_whole_number_as_a_float_is_a_grade(level: str, tmp_path: Path) -> None:
    image(tmp_path / "train" / "1_left.jpeg")
    (tmp_path / "trainLabels.csv").write_text(f"image,level\n1_left,{level}\n")
    rows, rejects = eyepacs.read(tmp_path)
    assert not rejects
    assert [row.label for row in rows] == ["moderate"]


@pytest.mark.parametrize("name", ["a@b", "case (1)", "(2)", "@x", "_x"])
def test_ordinary_characters_of_downloaded_names_are_taken(name: str) -> None:
    paths, rejects = raw.find_images([name], [2], {name: Path("x.jpg")})
    assert (paths, rejects) == ({2: Path("x.jpg")}, [])
