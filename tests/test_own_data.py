"""A stranger's images: every usual layout is read alike, every usual mistake named in a line."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from data_helpers import SIZE, colours, encoded, pixels, stored
from dicom_helpers import dicom

from attnrobust.data import own, records, shards
from attnrobust.data.own import Found
from attnrobust.errors import UserError
from tfrecords import own as reader

HOW = shards.Preparation(size=SIZE, workers=1)


def draw(path: Path, seed: int) -> Path:
    """A picture, drawn by its seed, at this path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(colours(seed), "PNG"))
    return path


def draw_all(folder: Path, names: Sequence[str]) -> Path:
    """Different pictures of these names."""
    for seed, name in enumerate(names):
        draw(folder / name, seed)
    return folder


def write_text(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def labels(found: Found) -> dict[str, str]:
    return {row.id: row.label for row in found.rows}


def splits(dataset: records.Dataset) -> dict[str, int]:
    return {split: dataset.count(split) for split in ("train", "validation", "test")}


def said(folder: Path, **asked: Any) -> str:
    """The one line in which reading ends."""
    with pytest.raises(UserError) as error:
        own.read(folder, **asked)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    names = [f"{name}/{number}.png" for name in ("b", "A", "c") for number in range(4)]
    return draw_all(tmp_path / "data", names)


# A folder a class


def test_a_folder_a_class_in_the_order_of_keras_and_torchvision(folders: Path) -> None:
    draw(folders / "b" / "deeper" / "x.png", 50)
    write_text(folders / "b" / "notes.txt", "no image")
    found = own.read(folders)
    assert found.classes == ("A", "b", "c"), "capitals first, as sorted() has it"
    judge = tf.keras.utils.image_dataset_from_directory(folders, image_size=(8, 8))
    assert list(found.classes) == judge.class_names
    assert Counter(labels(found).values()) == {"A": 4, "b": 5, "c": 4}
    assert labels(found)["x"] == "b"
    assert labels(found)["c@0"] == "c", "a name that stands in several folders has its path"
    assert not found.rejects
    assert found.lines()[1].endswith("0 A (4), 1 b (5), 2 c (4)")
    assert "no groups named" in found.lines()[2]
    assert found.name == "data"


def test_numbers_as_folders_go_by_alphabet_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw_all(tmp_path, [f"{name}/{name}{number}.png" for name in (0, 2, 10) for number in (0, 1)])
    assert own.read(tmp_path).classes == ("0", "10", "2")
    assert "0, 10, 2; --classes gives another order" in caplog.text
    assert own.read(tmp_path, classes=("0", "2", "10")).classes == ("0", "2", "10")


def test_folders_around_everything_are_passed_through(folders: Path, tmp_path: Path) -> None:
    outer = tmp_path / "archive" / "inner"
    outer.mkdir(parents=True)
    (outer / "data").symlink_to(folders)
    found = own.read(tmp_path / "archive")
    assert found.classes == ("A", "b", "c")
    assert found.layout.startswith(f"{tmp_path}/archive/inner/data: a folder a class")


def test_a_circle_of_links_ends(folders: Path) -> None:
    (folders / "A" / "again").symlink_to(folders)
    (folders / "A" / "gone.png").symlink_to("nowhere.png")
    found = own.read(folders)
    assert len(found.rows) == 13
    dataset = own.write(
        found, folders.parent / "out", how=shards.Preparation(workers=1, max_rejects=0.1)
    )
    assert sum(splits(dataset).values()) == 12
    assert "A@gone" not in stored(dataset)


def test_folders_of_splits_are_kept(tmp_path: Path) -> None:
    for seed, (split, count) in enumerate({"Train": 5, "valid": 2, "TEST": 3}.items()):
        for number in range(count):
            for place, name in enumerate(("x", "y")):
                draw(
                    tmp_path / "d" / split / name / f"{number}.png",
                    100 * seed + 10 * number + place,
                )
    found = own.read(tmp_path / "d")
    assert found.classes == ("x", "y")
    dataset = own.write(found, tmp_path / "out", how=HOW)
    assert splits(dataset) == {"train": 10, "validation": 4, "test": 6}
    assert stored(dataset, "test").keys() == {
        f"TEST@{name}@{number}" for name in "xy" for number in range(3)
    }


def test_a_split_that_is_missing_is_cut_from_train(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split, count in {"train": 16, "test": 2}.items():
        for name in ("x", "y"):
            for number in range(count):
                seed = 1000 * (split == "test") + 100 * (name == "x") + number
                draw(tmp_path / "d" / split / name / f"{number}.png", seed)
    caplog.set_level(logging.INFO, "attnrobust")
    dataset = own.write(own.read(tmp_path / "d"), tmp_path / "out", how=HOW)
    # Of the 0.8 that train and validation share, 0.1 is an eighth: 2 of 16 in each class.
    assert splits(dataset) == {"train": 28, "validation": 4, "test": 4}
    assert "no validation split in the data" in caplog.text


def test_one_picture_in_two_splits_is_an_error(tmp_path: Path) -> None:
    names = [
        f"{split}/{name}/{i}.png" for split in ("train", "test") for name in "xy" for i in "12"
    ]
    draw_all(tmp_path / "d", names)
    draw(tmp_path / "d" / "test" / "x" / "copy.png", 0)
    for only in (False, True):
        with pytest.raises(UserError, match="are the same image, but the data set puts them"):
            own.write(own.read(tmp_path / "d"), tmp_path / "out", how=HOW, test_only=only)


def test_dicom_files_stand_in_class_folders_too(tmp_path: Path) -> None:
    for name in ("x", "y"):
        for number in range(3):
            content = dicom(colours(10 * (name == "x") + number)[..., 0])
            path = tmp_path / "d" / name / (f"{number}.dcm" if number else "1.2.840.7")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    found = own.read(tmp_path / "d")
    assert labels(found)["x@1.2.840.7"] == "x"
    dataset = own.write(found, tmp_path / "out", how=HOW, test_only=True)
    examples = stored(dataset)
    assert len(examples) == 6
    np.testing.assert_array_equal(pixels(examples["x@1"]["image"])[..., 0], colours(11)[..., 0])


# A table


TABLE = ("image_id,dx,patient_id", "a,mel,P1", "b.png,nv,P1", "images/c.png,mel,P2", "d,nv,P3")


@pytest.fixture
def tabled(tmp_path: Path) -> Path:
    folder = draw_all(tmp_path / "data", [f"images/{name}.png" for name in "abcde"])
    write_text(folder / "labels.csv", *TABLE)
    return folder


def test_a_table_with_usual_names(tabled: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "attnrobust")
    found = own.read(tabled)
    assert labels(found) == {"a": "mel", "b": "nv", "c": "mel", "d": "nv"}
    assert [row.group for row in found.rows] == ["P1", "P1", "P2", "P3"]
    assert found.layout.endswith("images by image_id, classes by dx, groups by patient_id")
    assert "1 image files have no row in the table" in caplog.text
    alone = own.read(tabled, split_by="image")
    assert [row.group for row in alone.rows] == list("abcd")
    assert own.read(tabled / "labels.csv").rows == found.rows, "the table itself may be named"


def test_groups_are_not_torn_apart(tmp_path: Path) -> None:
    folder = draw_all(tmp_path / "d", [f"{number}.png" for number in range(60)])
    lines = [f"{number},{'ab'[number // 3 % 2]},{number // 3}" for number in range(60)]
    write_text(folder / "labels.csv", "file,label,Patient ID", *lines)
    dataset = own.write(own.read(folder), tmp_path / "out", how=HOW)
    where: dict[str, set[str]] = {}
    for example in stored(dataset).values():
        where.setdefault(example["group"], set()).add(example["split"])
    assert len(where) == 20
    assert all(len(each) == 1 for each in where.values())
    assert all(splits(dataset).values())


@pytest.mark.parametrize(
    ("head", "sep"),
    [
        ("Filename,Label", ","),
        ("IMG,target", ","),
        ("path\tDiagnosis", "\t"),
        ("image name,Class", ","),
        ("id_code,level", ","),
        ("Image Index,Finding Labels", ","),
    ],
)
def test_usual_names_of_columns_whatever_their_case(tabled: Path, head: str, sep: str) -> None:
    (tabled / "labels.csv").unlink()
    write_text(tabled / "t.tsv", head, *(sep.join(row) for row in ("ax", "by", "cx", "dy")))
    assert labels(own.read(tabled)) == {"a": "x", "b": "y", "c": "x", "d": "y"}


def test_columns_are_told_by_options(tabled: Path) -> None:
    lines = [
        "where,what,dx,who,part",
        "a,x,1,7,train",
        "b,y,1,7.0,train",
        "c,x,1,8,Test",
        "d,y,1,9,",
    ]
    table = write_text(tabled.parent / "elsewhere.csv", *lines)
    asked = {"file_column": "where", "label_column": "what", "group_column": "WHO"}
    found = own.read(tabled, csv=table, **asked, split_column="part")
    assert labels(found) == {"a": "x", "b": "y", "c": "x", "d": "y"}
    assert [row.group for row in found.rows] == ["7", "7", "8", "9"]
    assert [row.split for row in found.rows] == ["train", "train", "test", ""]
    wrong = said(tabled, csv=table, **(asked | {"label_column": "whit"}))
    assert "--label-column whit" in wrong
    assert "has no column whit; it has where, what, dx, who, part" in wrong
    assert "holds 7, 7.0, 8, 9; expected train" in said(
        tabled, csv=table, **(asked | {"split_column": "who"})
    )


def test_kaggles_usage_is_a_split_and_a_number_of_a_fold_is_none(
    tabled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["a,x,Training", "b,y,Training", "c,x,PublicTest", "d,y,PrivateTest"]
    write_text(tabled / "labels.csv", "image,label,Usage", *lines)
    assert [row.split for row in own.read(tabled).rows] == ["train", "train", "validation", "test"]
    write_text(tabled / "labels.csv", "image,label,fold", "a,x,0", "b,y,1", "c,x,2", "d,y,0")
    assert {row.split for row in own.read(tabled).rows} == {""}
    assert "column fold holds 0, 1, 2, which are no splits" in caplog.text


def test_a_column_a_class_as_isic_2019_has_it(
    tabled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "attnrobust")
    lines = ["a,0.0,1.0,0.0", "b,1.0,0.0,0.0", "c,0.0,1.0,0.0", "d,1.0,1.0,0.0", "e,0,0,0"]
    write_text(tabled / "labels.csv", "image,NV,MEL,UNK", *lines)
    found = own.read(tabled)
    assert found.classes == ("NV", "MEL"), "in the order of the columns, those without an image out"
    assert "no image of UNK" in caplog.text
    assert labels(found) == {"a": "MEL", "b": "NV", "c": "MEL"}
    assert {reject.id: reject.reason for reject in found.rejects} == {
        "d": "several labels, 'NV|MEL'; expected one class an image",
        "e": "empty label",
    }
    kept = own.read(tabled, classes=("UNK", "MEL", "NV"))
    assert kept.classes == ("UNK", "MEL", "NV")
    write_text(tabled / "labels.csv", "image,male,NV,MEL", "a,1,0,1", "b,1,1,0", "c,1,0,1")
    assert "0 of 3 rows have a 1 in exactly one" in said(tabled)
    assert own.read(tabled, label_column="nv,MEL").classes == ("NV", "MEL")


def test_numbers_as_labels_go_by_size(tabled: Path) -> None:
    write_text(tabled / "labels.csv", "image,level", "a,10", "b,2.0", "c,2", "d,0", "e,10")
    found = own.read(tabled)
    assert found.classes == ("0", "2", "10")
    assert labels(found)["b"] == "2"


@pytest.mark.parametrize(
    ("levels", "said_"), [("1 2 3 1 2 3", "1, 2, 3, not 0 to 2"), ("0 1 3 0 1 3", "0, 1, 3, not")]
)
def test_numbers_that_are_no_places_are_said(
    levels: str, said_: str, tabled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The model's first output may be for a class 0 that no image has."""

    def read(numbers: str, **named: object) -> None:
        rows = zip("abcdef", numbers.split(), strict=False)
        write_text(tabled / "labels.csv", "image,level", *map(",".join, rows))
        caplog.clear()
        own.read(tabled, **named)

    read(levels)
    assert said_ in caplog.text
    assert "first output is taken for" in caplog.text
    read(levels, classes=tuple(dict.fromkeys(levels.split())))
    assert "first output" not in caplog.text
    read("0 1 2 0 1 2")
    assert "first output" not in caplog.text


def test_numbers_are_places_in_the_classes_that_are_named(tabled: Path) -> None:
    write_text(tabled / "labels.csv", "image,level", "a,1", "b,0", "c,1", "d,0", "e,1")
    found = own.read(tabled, classes=("no", "mild"))
    assert labels(found) == {"a": "mild", "b": "no", "c": "mild", "d": "no", "e": "mild"}
    write_text(tabled / "labels.csv", "image,level", "a,1", "b,2", "c,1", "d,2", "e,1")
    assert "shifted by one? expected 0 to 1" in said(tabled, classes=("no", "mild"))


def test_named_classes_reject_others_and_may_lack_images(
    tabled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = own.read(tabled, classes=("mel", "bcc"))
    assert found.classes == ("mel", "bcc")
    assert labels(found) == {"a": "mel", "c": "mel"}
    assert [reject.reason for reject in found.rejects] == [
        "class 'nv', expected one of mel, bcc"
    ] * 2
    assert "no image of bcc" in caplog.text


def test_of_a_doubled_key_or_a_missing_label_in_json_nothing_is_guessed(tmp_path: Path) -> None:
    draw_all(tmp_path, ["a.png", "b.png", "c.png"])
    lines = ['{"file_name": "a.png", "label": 1}', '{"file_name": "b.png", "label": 0}']
    table = write_text(tmp_path / "metadata.jsonl", *lines, '{"file_name": "c.png", "label": NaN}')
    found = own.read(tmp_path)
    assert labels(found) == {"a": "1", "b": "0"}
    assert [(reject.id, reject.reason) for reject in found.rejects] == [("c", "empty label")]
    write_text(table, *lines, '{"file_name": "c.png", "label": 1, "label": 0}')
    assert "line 3: not usable JSON (key label stands twice)" in said(tmp_path)


def test_hugging_faces_metadata_of_the_whole_or_of_each_split(tmp_path: Path) -> None:
    whole = draw_all(tmp_path / "whole", ["a.png", "b.png"])
    lines = [{"file_name": "a.png", "label": 1}, {"file_name": "b.png", "label": 0}]
    write_text(whole / "metadata.jsonl", *map(json.dumps, lines))
    assert labels(own.read(whole)) == {"a": "1", "b": "0"}
    each = draw_all(
        tmp_path / "each", [f"{split}/{i}.png" for split in ("train", "test") for i in "12"]
    )
    for split in ("train", "test"):
        write_text(each / split / "metadata.csv", "file_name,label", "1.png,x", "2.png,y")
    found = own.read(each)
    assert {row.id: (row.label, row.split) for row in found.rows} == {
        "train@1": ("x", "train"),
        "train@2": ("y", "train"),
        "test@1": ("x", "test"),
        "test@2": ("y", "test"),
    }
    assert len({row.line for row in found.rows}) == 4


def test_masks_of_a_table_are_stored(tabled: Path, tmp_path: Path) -> None:
    white = np.full((SIZE, SIZE), 255, np.uint8)
    (tabled / "masks").mkdir()
    (tabled / "masks" / "a_mask.png").write_bytes(encoded(white, "PNG"))
    lines = ["a,x,masks/a_mask.png", "b,y,", "c,x,", "d,y,none.png"]
    write_text(tabled / "labels.csv", "file,label,mask", *lines)
    found = own.read(tabled)
    assert [reject.reason for reject in found.rejects] == ["mask: no image file of this name"]
    dataset = own.write(
        found,
        tmp_path / "out",
        how=shards.Preparation(size=SIZE, workers=1, max_rejects=1),
        test_only=True,
    )
    examples = stored(dataset)
    assert pixels(examples["a"]["mask"]).min() == 255
    assert examples["b"]["mask"] == b""


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("../secret.png", "'../secret.png' leads out of the folder"),
        ("images/../../secret", "leads out of the folder"),
        ("/etc/passwd", "no image file of this name"),
        ("secret", "no image file of this name"),
        ("other/a.png", "no image file of this name; images/a.png is there"),
        ("", "names no image"),
        ("twice", "'twice' may be images/twice.jpg or images/twice.png"),
    ],
)
def test_words_of_a_table_never_leave_the_folder(tabled: Path, word: str, reason: str) -> None:
    draw(tabled.parent / "secret.png", 77)
    draw_all(tabled, ["images/twice.png", "images/twice.jpg"])
    write_text(tabled / "labels.csv", "file,label", f"{word},x", "b,y", "c,x", "d,y")
    found = own.read(tabled)
    assert [reject.line for reject in found.rejects] == [2]
    assert reason in found.rejects[0].reason
    assert found.rejects[0].missing


@pytest.mark.parametrize(
    "word",
    [
        "twice.png",
        "images/twice.png",
        "/home/x/data/images/twice.png",
        r"images\twice.png",
        "./images/twice.png",
    ],
)
def test_words_of_a_table_are_found_as_paths_of_any_machine(tabled: Path, word: str) -> None:
    draw_all(tabled, ["images/twice.png", "images/twice.jpg"])
    write_text(tabled / "labels.csv", "file,label", f"{word},x", "b,y", "c,x", "d,y")
    found = own.read(tabled)
    assert found.rows[0].path == tabled / "images" / "twice.png"


def test_ids_are_safe_whatever_files_are_called(tmp_path: Path) -> None:
    names = ["x/ü 1.png", "x/é 1.png", "y/-a,b.png", "y/.hidden.png", "y/c+d.png"]
    draw_all(tmp_path / "d", names)
    dataset = own.write(own.read(tmp_path / "d"), tmp_path / "out", how=HOW)
    assert stored(dataset).keys() == {"x@_ 1", "x@_ 1.png", "_-a_b", "c_d"}


def test_a_class_that_cannot_be_written_is_named(folders: Path) -> None:
    draw(folders / os.fsdecode(b"d\xff") / "x.png", 60)
    assert r"class 'd\udcff': signs that cannot be written" in said(folders)


def test_images_of_two_splits_are_two_however_they_are_numbered(tmp_path: Path) -> None:
    names = ["train/x/1.png", "train/y/Im 2.png", "test/x/001.png", "test/y/im 02.png"]
    draw_all(tmp_path / "d", names)
    found = own.read(tmp_path / "d")
    assert {row.id for row in found.rows} == {
        "train@x@1",
        "train@y@Im 2",
        "test@x@001",
        "test@y@im 02",
    }
    dataset = own.write(found, tmp_path / "out", how=HOW, test_only=True)
    assert splits(dataset) == {"train": 2, "validation": 0, "test": 2}


def test_an_image_twice_in_a_table(tabled: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "attnrobust")
    lines = ["a,x", "a.png,x", "b,y", "c,x", "images/c.png,y", "d,y"]
    write_text(tabled / "labels.csv", "file,label", *lines)
    found = own.read(tabled)
    assert labels(found) == {"a": "x", "b": "y", "d": "y"}
    assert {reject.reason for reject in found.rejects} == {
        "image stands in lines 5, 6, which differ"
    }
    assert "1 lines name an image once more" in caplog.text


# Mistakes, in a line


def mistake(make: Callable[[Path], object], expected: Sequence[str], **asked: Any) -> Any:
    return pytest.param(make, expected, asked, id=expected[0])


def table_of(head: str, *lines: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        draw_all(folder, [f"images/{name}.png" for name in "abcd"])
        write_text(folder / "labels.csv", head, *lines)

    return make


@pytest.mark.parametrize(
    ("make", "expected", "asked"),
    [
        mistake(
            lambda folder: draw_all(folder, ["a.png", "b.png"]),
            [
                "no class folders and no table of classes found; there are 2 images",
                "expected a folder",
            ],
        ),
        mistake(
            lambda folder: draw_all(folder, ["x/a.png", "x/b.png"]),
            ["a single class, 'x'; expected"],
        ),
        mistake(
            lambda folder: draw_all(folder, ["train/x/a.png", "test/x/b.png", "x/c.png"]),
            ["folders of splits (test, train) beside others (x)"],
        ),
        mistake(
            lambda folder: draw_all(folder, ["train/a.png", "test/b.png"]),
            ["no class folders and no table of classes found"],
        ),
        mistake(
            table_of("file,age", "a,50", "b,51", "c,50"),
            ["a single class, 'images'", "no column of classes in labels.csv (columns file, age)"],
        ),
        mistake(
            table_of("file,age", "a,50", "b,51", "c,50"),
            ["no column that holds the class (such as label, labels, class", "it has file, age;"],
            csv="labels.csv",
        ),
        mistake(
            table_of("name;label", "a;x", "b;y"),
            ["no column that names the image", "semicolons"],
            csv="labels.csv",
        ),
        mistake(
            table_of("file,label", "a,ISIC_1", "b,ISIC_2", "c,ISIC_3", "d,ISIC_4"),
            ["column label: all 4 labels differ, from 'ISIC_1' to 'ISIC_4', as ids do"],
        ),
        mistake(
            table_of("file,label", "a,0.25", "b,0.5", "c,0.25", "d,0.5"),
            ["column label: decimal numbers such as 0.25"],
        ),
        mistake(table_of("file,label", "a,x", "b,x", "c,x"), ["a single class, 'x'"]),
        mistake(
            table_of("file,label", "a,x|y", "b,y|z", "c,"),
            ["none of 3 images can be used; the first is line 2 ('a'): several labels, 'x|y'"],
        ),
        mistake(
            table_of("file,label", "a,x", "b,y", "c,x"),
            ["no label is one of --classes p, q; there are x, y"],
            classes=("p", "q"),
        ),
        mistake(table_of("file,label", "a,x", "b,y"), ["none.csv: no such file"], csv="none.csv"),
    ],
)
def test_a_mistake_is_named_in_one_line(
    make: Callable[[Path], object], expected: Sequence[str], asked: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    if "csv" in asked:
        asked = {**asked, "csv": folder / asked["csv"]}
    line = said(folder, **asked)
    assert str(folder) in line
    for part in expected:
        assert part in line


def test_two_tables_are_an_error_unless_one_has_no_classes(tabled: Path) -> None:
    write_text(tabled / "ages.csv", "image_id,age", "a,50", "b,60", "c,70")
    assert len(own.read(tabled).rows) == 4
    write_text(tabled / "more.csv", *TABLE)
    assert "2 tables of classes, labels.csv, more.csv; name one with --csv" in said(tabled)
    assert len(own.read(tabled, csv=tabled / "more.csv").rows) == 4


def test_a_table_without_classes_beside_class_folders_is_said(folders: Path) -> None:
    write_text(folders / "ages.csv", "image_id,age", "a,50", "b,60", "c,70")
    found = own.read(folders)
    assert found.classes == ("A", "b", "c")
    assert found.layout.endswith("no column of classes in ages.csv (columns image_id, age)")
    (folders / "ages.csv").write_bytes(b"image_id,label\n\xe4,x\n")
    assert "ages.csv: not a readable CSV" in said(folders), "it may have been the one"


def test_what_is_not_there_or_no_kind_of_ours(tmp_path: Path) -> None:
    assert said(tmp_path / "none").endswith("no such file or folder")
    assert "a .zip file; expected a folder a class" in said(write_text(tmp_path / "x.zip", "PK"))


def test_a_class_of_one_image_can_be_tested_on_and_not_trained_on(tmp_path: Path) -> None:
    draw_all(tmp_path / "d", ["x/1.png", "x/2.png", "y/3.png"])
    found = own.read(tmp_path / "d")
    with pytest.raises(UserError, match=r"class 'y' has one image, 3 \(line 3\), which cannot"):
        own.write(found, tmp_path / "out", how=HOW)
    assert splits(own.write(found, tmp_path / "out", how=HOW, test_only=True))["test"] == 3


def test_too_many_rejects_stop_with_the_first_reason(tabled: Path, tmp_path: Path) -> None:
    write_text(tabled / "labels.csv", "file,label", "a,x", "b,y", "c,x|y", "d,y", "e,x")
    with pytest.raises(UserError, match=r"1 of 5 rows .* line 4 \(c\): several labels"):
        own.write(own.read(tabled), tmp_path / "out", how=HOW)


# For a test alone


def test_all_are_test_images_unless_the_data_splits(folders: Path, tmp_path: Path) -> None:
    dataset = own.write(own.read(folders), tmp_path / "out", how=HOW, test_only=True, name="mine")
    assert splits(dataset) == {"train": 0, "validation": 0, "test": 12}
    assert dataset.name == "mine"
    assert records.load(tmp_path / "out").hash == dataset.hash
    records.verify(dataset)
    split = draw_all(
        tmp_path / "s",
        [f"{split}/{name}/{i}.png" for split in ("train", "test") for name in "xy" for i in "1"],
    )
    found = own.read(split)
    kept = own.write(found, tmp_path / "out2", how=HOW, test_only=True)
    assert splits(kept) == {"train": 2, "validation": 0, "test": 2}
    every = own.write(found, tmp_path / "out3", how=HOW, test_only=True, everything=True)
    assert splits(every) == {"train": 0, "validation": 0, "test": 4}
    for path in sorted((split / "test").rglob("*.png")):
        path.unlink()
    with pytest.raises(UserError, match="splits train 2 and no test; --everything"):
        own.write(own.read(split), tmp_path / "out4", how=HOW, test_only=True)


# The command


def command(*words: object) -> int:
    log = logging.getLogger("attnrobust")
    before = list(log.handlers)
    try:
        return reader.main([str(word) for word in ("--size", SIZE, "--workers", 1, *words)])
    finally:
        log.handlers = before


def test_the_command_prints_the_class_order_and_writes_records(
    folders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("--raw", folders, "--name", "mine") == 0
    assert "0 A (4), 1 b (4), 2 c (4)" in capsys.readouterr().out
    dataset = records.load(tmp_path / "tfrecords/shards/mine")
    assert dataset.name == "mine"
    assert splits(dataset) == {"train": 9, "validation": 0, "test": 3}
    words = ("--raw", folders, "--out", tmp_path / "out", "--test-only")
    assert command(*words, "--classes", "c", "b", "A") == 0
    again = records.load(tmp_path / "out")
    assert again.classes == ("c", "b", "A")
    assert splits(again)["test"] == 12
    assert command("--raw", folders, "--out", folders / "out") == 1
    assert "lies inside" in capsys.readouterr().err
    assert command("--raw", folders, "--out", tmp_path / "o", "--label-column", "dx") == 1
    assert "no table of classes in it; name it" in capsys.readouterr().err


def test_real_images_are_read_by_their_tables() -> None:
    if "ATTNROBUST_DATA" not in os.environ:
        pytest.skip("ATTNROBUST_DATA names no folder of real images")
    root = Path(os.environ["ATTNROBUST_DATA"])
    from tfrecords import ham10000

    found, (rows, _) = own.read(root / "ham10000"), ham10000.read(root / "ham10000")
    assert found.classes == ham10000.CLASSES
    assert {(row.id, row.label, row.group) for row in found.rows} == {
        (row.id, row.label, row.group) for row in rows
    }
