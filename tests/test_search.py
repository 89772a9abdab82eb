"""Search: the grid, a killed search that goes on, the table and its best, what is refused."""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from data_helpers import make_raw, write_records

from attnrobust import config
from attnrobust.data import folds, records
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.run import main
from attnrobust.stages import pipeline
from attnrobust.studies import search
from attnrobust.studies.grid import axes, points

GRID = ("training.learning_rate=1e-3,0.0001",)
FAST = (
    "model.head=gap",
    "training.epochs=1",
    "training.batch_size=8",
    "training.augmentation=",
    "data.limit=16",
)
NAMES = ("training.learning_rate-0.001", "training.learning_rate-0.0001")


def test_a_grid_is_every_combination_with_values_as_set_reads_them(tiny: config.Experiment) -> None:
    words = ["training.learning_rate=1e-3, 3e-4,1/8", "training.batch_size=8,16"]
    found = points(tiny, words)
    assert [tuple(point.settings.values()) for point in found] == [
        ("0.001", "8"),
        ("0.001", "16"),
        ("0.0003", "8"),
        ("0.0003", "16"),
        ("0.125", "8"),
        ("0.125", "16"),
    ]
    for point in found:
        settings = [f"{key}={text}" for key, text in point.settings.items()]
        assert config.with_settings(tiny, settings) == point.experiment
    (none,) = points(tiny, ["training.inner_abs_stepsize=none"])
    assert none.settings == {"training.inner_abs_stepsize": "None"}
    (flip,) = points(tiny, ["training.augmentation=flip"])
    assert flip.experiment.training.augmentation == ("flip",)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([], "search: expected at least one --grid"),
        (["training.epochs"], "--grid training.epochs: expected KEY=VALUE,VALUE"),
        (["training.epochs=,"], "--grid training.epochs=,: expected KEY=VALUE,VALUE"),
        (["training.lr=1"], "no field 'lr' in training; known: epochs"),
        (["training=1"], "--grid training: name one of its fields"),
        (["training.epochs=2,x"], "--grid training.epochs=x: expected int"),
        (["training.epochs=2,0"], "training.epochs = 0: expected at least 1"),
        (["training.epochs=2", "training.epochs=3"], "--grid training.epochs: given twice"),
        (["training.learning_rate=1e-3,0.001"], "training.learning_rate=0.001 comes twice"),
        (["seed=1,2"], "--grid seed: expected a setting of model or training"),
        (["attack.steps=1,2"], "--grid attack.steps: expected a setting of model or training"),
        (["data.fold=0,1"], "--grid data.fold: expected a setting of model or training"),
    ],
)
def test_a_grid_that_cannot_be_is_one_line(
    tiny: config.Experiment, grid: list[str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        points(tiny, grid)
    assert message in str(caught.value)


def history(run: runs.Run, rows: Sequence[tuple[float, float]]) -> runs.Run:
    """A training that left these validation losses and accuracies."""
    lines = [
        json.dumps({"epoch": number, "val_loss": loss, "val_accuracy": accuracy}) + "\n"
        for number, (loss, accuracy) in enumerate(rows, 1)
    ]
    runs.save_text(run.path("train", "history.jsonl"), "".join(lines))
    return run


def test_accuracy_is_that_of_the_epoch_whose_weights_were_kept(
    tiny: config.Experiment, tmp_path: Path
) -> None:
    rows = [(1.0, 0.5), (0.6, 0.625), (0.55, 0.75), (0.7, 0.875)]
    for min_delta, expected in (("0", 0.75), ("0.1", 0.625), ("0.5", 0.5)):
        experiment = config.with_settings(tiny, [f"training.min_delta={min_delta}"])
        run = runs.Run(tmp_path / min_delta, experiment)
        assert search.accuracy(history(run, rows)) == expected
    run.path("train", "history.jsonl").write_text('{"epoch": 1}\n')
    with pytest.raises(UserError, match=r"history\.jsonl: not a history of training"):
        search.accuracy(run)
    with pytest.raises(UserError, match="not a history"):
        search.accuracy(runs.Run(tmp_path / "none", tiny))


def test_a_cell_has_a_name_of_its_own_and_an_older_one_keeps_its(
    tiny: config.Experiment, tmp_path: Path
) -> None:
    def names(values: str) -> list[str]:
        tried = points(tiny, [f"model.weights={values}"])
        return [search.cell(tmp_path, point, 2, 0).root.parent.name for point in tried]

    assert names("imagenet,x.h5") == ["model.weights-imagenet", "model.weights-x.h5"]
    first, second = names("a/b.h5,a:b.h5")
    assert first != second, "which '-' alone would make one of"
    (tmp_path / "model.weights-a-b.h5").mkdir()
    assert names("a/b.h5") == ["model.weights-a-b.h5"], "as an older search has named it"


def test_table_and_best_by_hand(tiny: config.Experiment, tmp_path: Path) -> None:
    tried = points(tiny, ["training.batch_size=8,16,32"])
    left = [[0.25, 0.5, 0.75], [0.75, 0.5, 0.25], [0.5, 0.375]]
    found = []
    for number, accuracies in enumerate(left):
        cells = [search.cell(tmp_path, tried[number], 3, fold) for fold in range(len(accuracies))]
        pairs = zip(cells, accuracies, strict=True)
        found.append([search.accuracy(history(cell, [(1.0, value)])) for cell, value in pairs])
    shown = search.table(tried, found, 3)
    assert list(shown) == ["training.batch_size", "mean", "sd", "fold_0", "fold_1", "fold_2", "n"]
    assert list(shown["training.batch_size"]) == ["8", "16", "32"]
    assert list(shown["mean"]) == [0.5, 0.5, 0.4375]
    # Deviations -1/4, 0, 1/4: 2/16 over n - 1 = 2. And 1/16 each way over 1.
    assert list(shown["sd"]) == pytest.approx([0.25, 0.25, (2 / 16**2) ** 0.5])
    assert list(shown["n"]) == [3, 3, 2]
    assert shown["fold_2"].isna().tolist() == [False, False, True]
    assert search.best(shown) == 0, "the first of two"
    assert search.best(search.table(tried, [[0.1], [0.3], [0.2]], 3)) == 1


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    raw = make_raw(tmp_path_factory.mktemp("raw") / "ham10000", lesions=8)
    return write_records(raw, tmp_path_factory.mktemp("records") / "demo")


def call(demo: records.Dataset, place: Path, tiny: config.Experiment, *words: str) -> int:
    settings = [word for setting in FAST for word in ("--set", setting)]
    grid = [word for axis in GRID for word in ("--grid", axis)]
    where = ["--records", str(demo.root), "--runs", str(place), "--seed", "3"]
    return main(tiny, ["search", "--folds", "2", *grid, *where, *settings, *words])


@pytest.fixture(scope="module")
def stopped(
    one_device: None,
    uncompiled: None,
    demo: records.Dataset,
    tiny: config.Experiment,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, int], str]:
    """A search of two points and two folds that was stopped in its third cell.

    Gives the search's folder, the weights that the stop left with their times, and its table.
    """
    place = tmp_path_factory.mktemp("runs")
    real, begun = pipeline.STAGES["train"], []

    def until_the_third(context: pipeline.Context) -> None:
        begun.append(context)
        if len(begun) == 3:
            raise KeyboardInterrupt
        real(context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pipeline.STAGES, "train", until_the_third)
        assert call(demo, place, tiny) == 130
    root = place / "demo" / "tiny-search" / "seed-3"
    times = {str(path): path.stat().st_mtime_ns for path in root.rglob("weights.h5")}
    return root, times, (root / "search.csv").read_text()


@pytest.fixture(scope="module")
def searched(
    stopped: tuple[Path, dict[str, int], str], demo: records.Dataset, tiny: config.Experiment
) -> tuple[Path, dict[str, int], str]:
    """The same, begun again and finished."""
    assert call(demo, stopped[0].parents[2], tiny) == 0
    return stopped


@pytest.mark.slow
def test_a_stopped_search_leaves_a_table_of_what_it_has(
    stopped: tuple[Path, dict[str, int], str],
) -> None:
    _, times, table = stopped
    assert len(times) == 2
    assert list(pd.read_csv(io.StringIO(table))["n"]) == [2, 0]


@pytest.mark.slow
def test_a_killed_search_keeps_its_cells_and_goes_on(
    searched: tuple[Path, dict[str, int], str],
) -> None:
    root, times, table = searched
    assert sorted(times) == [
        str(root / NAMES[0] / f"fold-{fold}-of-2" / "train" / "weights.h5") for fold in (0, 1)
    ]
    for path, time in times.items():
        assert Path(path).stat().st_mtime_ns == time
    assert len(list(root.rglob("weights.h5"))) == 4
    partial, whole = pd.read_csv(io.StringIO(table)), pd.read_csv(root / "search.csv")
    assert list(partial["n"]) == [2, 0]
    assert list(whole["n"]) == [2, 2]
    pd.testing.assert_frame_equal(partial[:1], whole[:1])


def test_the_table_is_what_the_histories_say(searched: tuple[Path, dict[str, int], str]) -> None:
    root, *_ = searched
    whole = pd.read_csv(root / "search.csv")
    assert list(whole["training.learning_rate"]) == [0.001, 0.0001]
    for number, name in enumerate(NAMES):
        values = []
        for fold in (0, 1):
            file = root / name / f"fold-{fold}-of-2" / "train" / "history.jsonl"
            (row,) = map(json.loads, file.read_text().splitlines())
            assert whole[f"fold_{fold}"][number] == pytest.approx(row["val_accuracy"])
            values.append(row["val_accuracy"])
        assert whole["mean"][number] == pytest.approx(statistics.mean(values))
        assert whole["sd"][number] == pytest.approx(statistics.stdev(values))


def test_each_cell_is_a_training_on_its_fold(
    searched: tuple[Path, dict[str, int], str], demo: records.Dataset, tiny: config.Experiment
) -> None:
    root, *_ = searched
    for name, rate in zip(NAMES, (1e-3, 1e-4), strict=True):
        for fold in (0, 1):
            place = root / name / f"fold-{fold}-of-2"
            kept = config.from_json((place / "cell.json").read_text())
            assert (kept.data.folds, kept.data.fold, kept.seed) == (2, fold, 3)
            assert kept.training.learning_rate == rate
            part = folds.as_fold(demo, 2, fold)
            assert runs.load_json(place / "train" / "stage.json")["inputs"] == part.hash
            found = runs.load_json(place / "provenance.json")["dataset"]["splits"]
            for split in ("train", "validation", "test"):
                assert found[split]["count"] == part.count(split)
                assert found[split]["class_counts"] == part.splits[split]["class_counts"]


def test_report_and_transfer_do_not_find_cells(searched: tuple[Path, dict[str, int], str]) -> None:
    root, *_ = searched
    with pytest.raises(UserError, match="no run there or below"):
        runs.find_runs([root.parents[2]])


def test_a_third_call_trains_nothing_and_says_the_best(
    searched: tuple[Path, dict[str, int], str],
    demo: records.Dataset,
    tiny: config.Experiment,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root, *_ = searched
    times = {path: path.stat().st_mtime_ns for path in root.rglob("weights.h5")}
    assert call(demo, root.parents[2], tiny) == 0
    assert {path: path.stat().st_mtime_ns for path in root.rglob("weights.h5")} == times
    assert caplog.text.count("done before, kept") == 4
    shown = pd.read_csv(root / "search.csv")
    rate = "0.001" if shown["mean"][0] >= shown["mean"][1] else "0.0001"
    line = next(m for m in caplog.messages if m.startswith("best: "))
    assert f"best: training.learning_rate={rate}, validation accuracy" in line
    command = line.splitlines()[1].split()
    assert command[:5] == ["python", "-m", "experiments", "demo.tiny", "train"]
    assert command[-2:] == ["--set", f"training.learning_rate={rate}"]
    assert {"--seed", "3", "data.limit=16", "--runs"} <= {*command}
    assert not {"search", "--folds", "--grid"} & {*command}
    assert str(shown["mean"].max())[:5] in (root / "log.txt").read_text()


def test_cells_of_other_settings_are_never_mixed_in(
    searched: tuple[Path, dict[str, int], str],
    demo: records.Dataset,
    tiny: config.Experiment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, *_ = searched
    assert call(demo, root.parents[2], tiny, "--set", "training.epochs=2") == 1
    error = capsys.readouterr().err
    assert "training.epochs 1 (now 2)" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "1"], "--folds 1: expected at least 2"),
        (["--folds", "0"], "--folds 0: expected at least 2"),
        (["--set", "data.folds=3"], "search sets data.folds and data.fold itself"),
        (["--folds", "9"], "part of fold 0 of 9"),
        (
            ["--set", "training.start=other"],
            "the run that training.start names has seen every fold",
        ),
        (["--grid", "training.lr=1,2"], "no field 'lr' in training"),
        (
            ["--grid", "training.schedule=cosine,cos"],
            "no training.schedule 'cos'; did you mean cosine",
        ),
        (["--grid", "model.head=gap,gpa"], "no model.head 'gpa'; did you mean gap"),
        (["--grid", "training.method=standard,adversarial"], "changes what validation measures"),
        (
            [
                "--set",
                "training.method=adversarial",
                "--grid",
                "training.inner_epsilon=1/255,2/255",
            ],
            "changes what validation measures",
        ),
    ],
)
def test_what_cannot_be_searched_is_one_line_and_leaves_no_cell(
    words: list[str],
    message: str,
    demo: records.Dataset,
    tiny: config.Experiment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(demo, tmp_path, tiny, *words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("train"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "train"], "search goes alone"),
        (["search", "--as", "x"], "search goes alone"),
        (["search", "--strategy", "multi_worker"], "for 'train' alone"),
        (["train", "--folds", "5"], "--grid and --folds are for search"),
        (["all", "--grid", "training.epochs=1,2"], "--grid and --folds are for search"),
    ],
)
def test_search_goes_alone(
    words: list[str], message: str, tiny: config.Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(tiny, words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_another_grid_keeps_the_table_of_the_first(
    tiny: config.Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "search.csv"

    def searched(grid: str, folds: int = 2) -> list[str]:
        tried = points(tiny, [grid])
        names = list(axes(tried))
        search.keep_other(file, search.table(tried, [[] for _ in tried], folds), names)
        runs.save_text(file, search.table(tried, [[0.5] * 2, [0.75]], folds).to_csv(index=False))
        return sorted(path.name for path in tmp_path.iterdir())

    first, second = "training.batch_size=8,16", "training.batch_size=8,32"
    assert searched(first) == ["search.csv"]
    before = file.read_bytes()
    assert searched(first) == ["search.csv"], "goes on"
    assert searched(second) == ["search-1.csv", "search.csv"]
    assert (tmp_path / "search-1.csv").read_bytes() == before
    assert "the table of another grid is kept as" in caplog.text
    assert searched(second, folds=3) == ["search-1.csv", "search-2.csv", "search.csv"]
    file.write_bytes(b"")
    assert "search-3.csv" in searched(first)
