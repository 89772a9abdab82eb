"""Nothing is removed or written over that is not ours: records, their unfinished folders, runs."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from data_helpers import command, contents, make_raw, write_records
from run_helpers import made
from test_report import make_run

from attnrobust import cli as program
from attnrobust import config
from attnrobust.data import corrupted, records
from attnrobust.disk import folders, lock, runs
from attnrobust.errors import UserError
from attnrobust.report import page
from attnrobust.stages.context import Context
from attnrobust.studies import search, study, unfreezing

EXPERIMENT = config.Experiment(name="first", data=config.Data(dataset="demo", image_size=32))
# What stands in the folders of other programs under the name that ours has.
NNUNET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}
DECATHLON = {
    "name": "Liver",
    "description": "d",
    "modality": {"0": "CT"},
    "numTraining": 1,
    "labels": {"0": "background"},
    "training": [],
    "test": [],
}


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


def test_lists_that_are_not_of_the_records_stay(
    raw: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "disc.csv").write_text("mine")
    before = contents(out)
    assert command(raw, out) == 1
    refused(capsys.readouterr().err, "disc.csv", "would be lost")
    assert contents(out) == before


def test_a_preparation_killed_as_it_ends_goes_on(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folders, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_records(raw, tmp_path / "out")
    assert {"duplicates.csv", "rejects.csv"} <= {
        path.name for path in (tmp_path / "out.partial").iterdir()
    }
    write_records(raw, tmp_path / "out")
    assert (tmp_path / "out" / "duplicates.csv").is_file()


@pytest.mark.parametrize("linked", [False, True])
def test_a_lock_neither_empties_nor_removes_a_file(tmp_path: Path, linked: bool) -> None:
    place, target = tmp_path / ".out.lock", tmp_path / "target"
    (target if linked else place).write_text("precious")
    if linked:
        place.symlink_to(target)
    with (
        pytest.raises(UserError, match=r"\.out\.lock: in the way"),
        lock.alone(tmp_path / "out"),
    ):
        pytest.fail("held")
    assert place.read_text() == "precious"


def test_a_manifest_of_too_deep_json_is_none(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("[" * 100_000)
    assert folders.manifest(tmp_path, "records") is None


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
    write, source = {"prepare": (write_records, raw), "corrupt": (corrupted.write, dataset.root)}[
        how
    ]
    with pytest.raises(UserError, match=r"new\.partial: in the way, it holds mine\.txt"):
        write(source, tmp_path / "new")
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
    for theirs in (NNUNET, []):
        (tmp_path / "dataset.json").write_text(json.dumps(theirs))
        with pytest.raises(
            UserError, match=r"dataset\.json: format .*, expected 1 or attnrobust rec"
        ):
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


def kept(words: list[str], root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Stderr of a command that fails with one line and leaves all below `root` as it is."""
    before = contents(root)
    assert program.main(words) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert contents(root) == before
    return said


@pytest.fixture
def trained(tmp_path: Path, records_folder: Path) -> Context:
    """A run made of stamps alone, with two more below the same folder."""
    for name in ("standard", "first-groups-1"):
        made(EXPERIMENT, records_folder, tmp_path / "runs", f"name={name}")
    return made(EXPERIMENT, records_folder, tmp_path / "runs")


def unfreeze(context: Context, out: Path, *more: str) -> list[str]:
    return [
        "unfreeze",
        str(context.run.root),
        "--records",
        str(context.records.parent),
        "--out",
        str(out),
        "--groups",
        "1",
        *more,
    ]


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    "place",
    [".", "runs/..", "runs", "runs/demo/first/seed-0", "runs/demo/first/seed-0/new", "link"],
)
def test_unfreeze_never_writes_where_its_runs_are(
    place: str,
    force: list[str],
    trained: Context,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    said = kept(unfreeze(trained, tmp_path / place, *force), tmp_path, capsys)
    refused(said, "expected a folder apart from it", trained.run.root)


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_unfreeze_never_writes_over_the_standard_run_nor_by_a_link_below(
    force: list[str], trained: Context, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "a" / "runs" / "demo" / "standard" / "seed-0"
    shutil.copytree(trained.run.root.parents[1] / "standard" / "seed-0", elsewhere)
    words = unfreeze(trained, tmp_path / "a", "--standard", str(elsewhere), *force)
    refused(kept(words, tmp_path, capsys), "expected a folder apart from it", elsewhere)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "runs").symlink_to(tmp_path / "runs")
    said = kept(unfreeze(trained, tmp_path / "b", *force), tmp_path, capsys)
    refused(said, "expected a folder apart from it", trained.run.root)


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_unfreeze_and_transfer_leave_a_foreign_folder(
    force: list[str], trained: Context, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another folder with runs of the same names, and one with a settings.json of an editor's."""
    shutil.copytree(tmp_path / "runs", tmp_path / "a" / "runs")
    runs.save_json(tmp_path / "b" / "settings.json", {"editor.tabSize": 4})
    for place in ("a", "b"):
        said = kept(unfreeze(trained, tmp_path / place, *force), tmp_path, capsys)
        refused(said, tmp_path / place, "attnrobust unfreeze 1", "name a new or empty folder")
    words = [
        "transfer",
        str(trained.run.root.parents[1] / "standard"),
        str(trained.run.root),
        "--records",
        str(trained.records.parent),
        "--out",
    ]
    for place in ("a", "b"):
        said = kept([*words, str(tmp_path / place)], tmp_path, capsys)
        refused(said, tmp_path / place, "attnrobust transfer 1", "name a new or empty folder")
    said = kept([*words, str(tmp_path / "runs")], tmp_path, capsys)
    refused(said, "expected a folder apart from it")


def test_a_run_that_is_no_copy_is_not_made_anew(trained: Context, tmp_path: Path) -> None:
    runs.save_json(trained.run.path("provenance.json"), {})
    copy = unfreezing._copied(trained.run, tmp_path / "x", trained.experiment, force=True)
    (copy.root / "more").mkdir()
    again = unfreezing._copied(trained.run, tmp_path / "x", trained.experiment, force=True)
    assert not (again.root / "more").exists()
    (copy.root / "copy.json").unlink()
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"not known as a copy .* or name another --out"):
        unfreezing._copied(trained.run, tmp_path / "x", trained.experiment, force=True)
    assert contents(tmp_path) == before


def test_a_folder_claimed_before_the_format_had_a_name_goes_on(tmp_path: Path) -> None:
    used = {"weights": "w", "settings": [], "attack": {}, "version": 2}
    runs.save_json(tmp_path / "out" / "settings.json", used)
    folders.claim(tmp_path / "out", "unfreeze", used, inputs=[])
    found = runs.load_json(tmp_path / "out" / "settings.json")
    assert found == {"format": "attnrobust unfreeze 1", **used}
    other = {**used, "weights": "v"}
    with pytest.raises(UserError, match="results of other runs or settings stand there"):
        folders.claim(tmp_path / "out", "unfreeze", other, inputs=[])
    folders.claim(tmp_path / "out", "unfreeze", other, inputs=[], force=True)


def test_make_clean_removes_what_make_made_and_no_raw_data(tmp_path: Path) -> None:
    mine = [
        "tfrecords/raw/ham10000/ISIC_0.jpg",
        "tfrecords/raw/demo.zip",
        "runs/demo/mine/x.h5",
        "tfrecords/raw/x/__pycache__/mine.bin",
        "reports/mine/index.html",
        "tfrecords/shards/ham10000/dataset.json",
    ]
    made_by_make = [
        ".venv/x",
        ".venv-bench/x",
        ".venv-newest/x",
        "tfrecords/raw/demo/synthetic.json",
        "tfrecords/shards/demo/dataset.json",
        "reports/demo/report.json",
        "runs/demo/resnet18_gap/seed-0/config.json",
        "attnrobust/data/__pycache__/x.pyc",
    ]
    for name in (*mine, *made_by_make):
        runs.save_text(tmp_path / name, '"name": "demo"')
    words = ["make", "-s", "-f", Path(__file__).parents[1] / "Makefile", "clean"]
    subprocess.run(words, cwd=tmp_path, check=True)
    assert sorted(contents(tmp_path)) == sorted(mine)
    shutil.move(tmp_path / "tfrecords/raw/ham10000", tmp_path / "tfrecords/raw/demo")
    subprocess.run(words, cwd=tmp_path, check=True)
    assert (tmp_path / "tfrecords/raw/demo/ISIC_0.jpg").is_file()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, cheap_pages: None) -> runs.Run:
    return make_run(tmp_path_factory.mktemp("measured") / "runs", heatmaps=False)


def test_a_page_never_takes_a_foreign_folder(measured: runs.Run, tmp_path: Path) -> None:
    runs.save_text(
        tmp_path / "site" / "index.html", "<p>my own, on python -m attnrobust report</p>"
    )
    runs.save_text(tmp_path / "plots" / "figures" / "robust-accuracy-mine.png", "mine")
    before = contents(tmp_path)
    for out in (tmp_path / "site", tmp_path / "plots"):
        with pytest.raises(UserError, match=f"{out}: holds other files .*attnrobust report 1"):
            page.write([measured], out)
    with pytest.raises(UserError, match=f"{tmp_path / 'site'}: holds other files"):
        study.study(
            ["demo.*"], tmp_path / "site", seeds=[0], stages=["train"], runs=tmp_path / "none"
        )
    assert contents(tmp_path) == before
    for out in (measured.root, measured.root / "page", measured.root.parents[1]):
        with pytest.raises(UserError, match="expected a folder apart from it"):
            page.write([measured], out)


def test_a_page_removes_what_its_manifest_lists_and_nothing_else(
    measured: runs.Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    page.write([measured], out)
    place = out / "report.json"
    listed = runs.load_json(place)
    assert listed["format"] == "attnrobust report 1"
    assert {*contents(out)} == {*listed["files"], "report.json"}
    mine = ["figures/wu-mine.png", "tables/recall-mine.csv", "figures/samples-of-a-friend.png"]
    for name in (*mine, "figures/confusion-old.png"):
        runs.save_text(out / name, "mine")
    runs.save_text(tmp_path / "outside.png", "mine")
    listed["files"] += [
        "figures/confusion-old.png",
        "../outside.png",
        str(tmp_path / "outside.png"),
    ]
    runs.save_json(place, listed)
    page.write([measured], out)
    assert {*contents(out)} == {*runs.load_json(place)["files"], *mine, "report.json"}
    assert (tmp_path / "outside.png").read_text() == "mine"


def test_a_page_of_before_there_was_a_manifest_is_written_anew(
    measured: runs.Run, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    out.symlink_to(tmp_path / "elsewhere")
    page.write([measured], out)
    (out / "report.json").unlink()
    page.write([measured], out)
    assert (out / "report.json").is_file()
    assert out.is_symlink()


@pytest.mark.parametrize("command", ["report", "transfer", "unfreeze", "study"])
def test_two_processes_never_write_to_one_out(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = "demo.resnet18_gap" if command == "study" else str(make_run(tmp_path / "runs").root)
    out = tmp_path / "out"
    with lock.alone(out):
        monkeypatch.setattr(lock, "_held", set())  # as another process sees it
        assert program.main([command, given, "--out", str(out)]) == 1
    refused(capsys.readouterr().err, f"{out}: another process is writing there")
    assert not list(tmp_path.glob(".*"))


def test_two_searches_never_write_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnrobust.training.ready.ready", lambda *_: None)
    monkeypatch.setattr(Context, "dataset", lambda *_: None)
    context = Context(runs.Run.of(EXPERIMENT, tmp_path / "runs"), tmp_path / "no records")
    with (
        lock.alone(search.place(context.run)),
        pytest.raises(UserError, match="first-search/seed-0: another process is writing there"),
    ):
        search.search(context, ["training.batch_size=8,16"], 2, train=pytest.fail, words=[])


def test_where_there_are_no_locks_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    for _ in range(2):
        with lock.alone(tmp_path / "out"):
            assert not list(tmp_path.iterdir())
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"warning: {tmp_path / '.out.lock'}: cannot be locked (No locks avail")


@pytest.mark.parametrize("place", [".", "deeper/.."])
def test_an_out_without_a_name_of_its_own_is_the_folder_it_leads_to(
    place: str,
    raw: Path,
    dataset: records.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    assert write_records(raw, Path(place)).hash == dataset.hash
    assert records.load(tmp_path / "out").hash == dataset.hash


def test_where_no_folder_can_be_made_is_one_line(raw: Path, capsys: pytest.CaptureFixture) -> None:
    assert command(raw, Path("/proc/records")) == 1
    assert capsys.readouterr().err.count("/proc/records.partial") == 1


def test_the_folder_of_all_folders_is_nobodys(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="/: expected a folder of its own"):
        write_records(make_raw(tmp_path / "raw"), Path("/"))


def test_a_manifest_that_lists_no_names_removes_nothing(tmp_path: Path) -> None:
    run, out = make_run(tmp_path / "runs"), tmp_path / "out"
    (tmp_path / "mine.txt").write_text("mine")
    runs.save_json(
        out / "report.json",
        {"format": folders.named("report"), "files": [["a"], {}, 3, "../mine.txt"]},
    )
    assert program.main(["report", str(run.root), "--out", str(out)]) == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"
