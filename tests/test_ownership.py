"""Nothing is removed or written over that is not ours: records, their unfinished folders, runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from data_helpers import command, contents, make_raw, write_records

from attnrobust import runs
from attnrobust.data import records
from attnrobust.errors import UserError
from tfrecords import corrupted

# What stands in the folders of other programs under the name that ours has.
NNUNET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "numTraining": 3,
          "file_ending": ".nii.gz"}  # fmt: skip
DECATHLON = {"name": "Liver", "description": "d", "modality": {"0": "CT"}, "numTraining": 1,
             "labels": {"0": "background"}, "training": [], "test": []}  # fmt: skip


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_raw(tmp_path_factory.mktemp("given") / "raw")


@pytest.fixture(scope="module")
def dataset(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    return write_records(raw, tmp_path_factory.mktemp("made") / "records")


@pytest.fixture
def out(dataset: records.Dataset, tmp_path: Path) -> Path:
    """A copy of the records."""
    return Path(shutil.copytree(dataset.root, tmp_path / "out"))


def refused(said: str, *words: object) -> None:
    assert said.count("\n") == 1, said
    assert all(str(word) in said for word in words), said


@pytest.mark.parametrize("theirs", [NNUNET, DECATHLON, [], "x"])
def test_records_never_replace_a_folder_with_another_programs_dataset_json(
    theirs: object, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    runs.save_json(out / "dataset.json", theirs)
    runs.save_text(out / "imagesTr" / "liver_0.nii.gz", "scan")
    before = contents(tmp_path)
    assert command(raw, out) == 1
    refused(capsys.readouterr().err, out, "attnrobust records 1")
    assert contents(tmp_path) == before


def test_records_never_take_the_place_of_the_raw_images(
    raw: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(raw, out / "raw")
    before = contents(out)
    assert command(out / "raw", out) == 1
    refused(capsys.readouterr().err, out)
    assert contents(out) == before
    with pytest.raises(UserError, match=str(out)):
        write_records(out / "raw", out)
    assert contents(out) == before


@pytest.mark.parametrize("place", [".", "shards", "HAM10000_images_part_1/shards"])
def test_records_are_not_written_among_the_raw_images(
    place: str, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = Path(shutil.copytree(raw, tmp_path / "raw"))
    (tmp_path / "link").symlink_to(mine)
    before = contents(mine)
    assert command(tmp_path / "link", mine / place) == 1
    refused(capsys.readouterr().err, mine)
    assert contents(mine) == before


def test_a_file_among_records_is_not_lost_with_them(
    raw: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.save_text(out / "plots" / "mine.png", "mine")
    before = contents(out)
    assert command(raw, out, "--seed", "1") == 1
    refused(capsys.readouterr().err, out, "plots/mine.png", "move it away")
    assert contents(out) == before


def test_what_stands_beside_records_under_our_names_stays(raw: Path, out: Path) -> None:
    """A backup that somebody has made under the name that old records had for a moment."""
    backup = Path(shutil.copytree(out, out.with_name("out.old")))
    runs.save_text(out.with_name("out.rejects.csv"), "mine,too\n")
    before = contents(backup)
    write_records(raw, out, seed=1)
    assert contents(backup) == before
    assert out.with_name("out.rejects.csv").read_text() == "mine,too\n"
    shutil.rmtree(out)
    write_records(raw, out, seed=2)
    assert contents(backup) == before


@pytest.mark.parametrize("how", ["prepare", "corrupt"])
def test_a_foreign_folder_of_an_unfinished_ones_name_stays(
    how: str, raw: Path, dataset: records.Dataset, tmp_path: Path
) -> None:
    runs.save_text(tmp_path / "new.partial" / "mine.txt", "mine")
    with pytest.raises(UserError, match=r"new\.partial: in the way, it holds mine\.txt"):
        if how == "prepare":
            write_records(raw, tmp_path / "new")
        else:
            corrupted.write(dataset.root, tmp_path / "new", names=("jpeg",))
    assert contents(tmp_path) == {"new.partial/mine.txt": b"mine"}


def test_records_of_before_the_format_had_a_name_are_used_and_replaced(
    raw: Path, out: Path, dataset: records.Dataset
) -> None:
    described = runs.load_json(out / "dataset.json")
    assert described["format"] == "attnrobust records 1"
    runs.save_json(out / "dataset.json", {**described, "format": 1})
    found = records.load(out)
    assert found.hash == dataset.hash, "what was trained on them goes on"
    write_records(raw, out, seed=1)
    assert records.load(out).hash != dataset.hash
    write_records(raw, out)
    assert contents(out) == contents(dataset.root)


def test_anothers_dataset_json_is_not_read_as_records(tmp_path: Path) -> None:
    for theirs in (NNUNET, [], {"format": 1, "splits": {}}):
        (tmp_path / "dataset.json").write_text(json.dumps(theirs))
        with pytest.raises(UserError, match=r"dataset\.json: format .*, expected attnrobust rec"):
            records.load(tmp_path)


def test_a_linked_out_stays_a_link(raw: Path, out: Path, dataset: records.Dataset) -> None:
    link = out.with_name("link")
    link.symlink_to(out)
    write_records(raw, link, seed=1)
    assert link.is_symlink()
    assert contents(out) == contents(link) != contents(dataset.root)
    new = out.with_name("new link")
    new.symlink_to(out.with_name("not there yet"))
    write_records(raw, new)
    assert new.is_symlink()
    assert contents(out.with_name("not there yet")) == contents(dataset.root)


@pytest.mark.parametrize("place", ["copy", "."])
def test_corrupted_records_are_not_written_inside_others(out: Path, place: str) -> None:
    before = contents(out)
    with pytest.raises(UserError, match=str(out)):
        corrupted.write(out, out / place, names=("jpeg",))
    assert contents(out) == before
