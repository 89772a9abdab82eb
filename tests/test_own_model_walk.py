"""A foreign model and somebody's images, from one command or one call to the page."""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_helpers import commands
from tensorflow import keras

import attnrobust
from attnrobust import cli
from attnrobust.disk import runs
from attnrobust.models import adopted
from attnrobust.own_model import command, look, testing
from attnrobust.stages.context import Context

SIDE, NUMBER = 16, 36
QUICK = [
    "attack.steps=3",
    "attack.rel_stepsize=0.5",
    "attack.samples=2",
    "checks.samples=4",
    "checks.draws=1",
    "checks.queries=8",
    "explanation.methods=grad_cam",
]


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright noise: bytes (N, 16, 16, 3), and which is which."""
    rng, labels = np.random.default_rng(0), np.arange(NUMBER) % 2
    noise = rng.integers(0, 90, (NUMBER, SIDE, SIDE, 3))
    return (noise + 165 * labels[:, None, None, None]).astype(np.uint8), labels


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Takes [-1, 1] and tells bright from dark by its mean, not in every image."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [
            keras.layers.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax", name="chances"),
        ],
        name="bright",
    )
    kernel = np.zeros((3, 3, 3, 4), np.float32)
    kernel[..., 0] = 1 / 27
    net.get_layer("conv").set_weights([kernel, np.zeros(4, np.float32)])
    slope = np.zeros((4, 2), np.float32)
    slope[0] = -9, 9
    net.get_layer("chances").set_weights([slope, np.array([0.9, -0.9], np.float32)])
    return net


@pytest.fixture(scope="module")
def folder(images: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photographs") / "skin"
    for number, (image, label) in enumerate(zip(*images, strict=True)):
        file = place / ("lit" if label else "dark") / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), image[..., ::-1])
    return place


@pytest.fixture
def saved(model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    model.save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def call(folder: Path, *more: str) -> int:
    """The command, quickly."""
    settings = [word for each in QUICK for word in ("--set", each)]
    words = ["test", "mine.keras", "--images", str(folder), "--epsilons", "4/255,0.2", *settings]
    return cli.main([*words, *more])


@pytest.mark.slow
def test_arrays_are_tested_as_keras_sees_them(
    images: tuple[np.ndarray, np.ndarray],
    model: keras.Model,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    theirs = model.predict(images[0] / 127.5 - 1, verbose=0).argmax(axis=1)
    log = logging.getLogger("attnrobust")
    handlers, log.handlers = log.handlers, []
    try:
        result = attnrobust.test(
            model,
            *images,
            preprocess="minus_one_one",
            classes=["dark", "bright"],
            epsilons=[4 / 255, 0.2],
            settings=QUICK,
        )
    finally:
        log.handlers = handlers
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", ""), "silent unless asked"
    after = model.predict(images[0] / 127.5 - 1, verbose=0)
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-6), "the given model is as it was"
    clean, *attacked = result.robust_accuracy.itertuples()
    assert clean.value == pytest.approx((theirs == images[1]).mean())
    assert clean.n == NUMBER
    # A mean of bytes 45 and 210, and no slope beside it: 0.2 of the range moves none over 127.
    assert [round(float(row.epsilon), 4) for row in attacked][-2:] == [0.0157, 0.2]
    assert all(row.value <= clean.value for row in attacked)
    assert {check["status"] for check in result.checks} <= {"pass", "note", "warn"}
    assert len(result.checks) == 16
    page = result.report(tmp_path / "out")
    assert page == tmp_path / "out" / "index.html"
    assert "bright" in page.read_text(encoding="utf-8")
    assert "linf_pgd" in repr(result)


def test_a_scratch_folder_lives_as_long_as_its_result(
    images: tuple[np.ndarray, np.ndarray], model: keras.Model
) -> None:
    result = attnrobust.test(
        model,
        *images,
        preprocess="minus_one_one",
        epsilons=[0.1],
        settings=QUICK,
        check=False,
        explain=False,
    )
    root = result.run.root
    assert root.is_dir()
    assert result.checks == []
    del result
    assert not root.exists()


def test_the_package_is_imported_without_tensorflow() -> None:
    code = "import attnrobust, sys; print('tensorflow' in sys.modules, attnrobust.__version__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", attnrobust.__version__]


def test_one_command_ends_with_a_page_and_goes_on_where_it_stopped(
    saved: Path, folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert call(folder, "--preprocess", "minus_one_one") == 0
    assert "0 dark (18), 1 lit (18)" in caplog.text, "folders by alphabet, said"
    assert f"clean accuracy 1.000, {NUMBER} of {NUMBER} images" in caplog.text
    root = Path("runs/skin/mine/seed-0")
    stamp = runs.load_json(root / "adopt" / "adopted.json")
    assert stamp["file"] == str(saved.resolve())
    assert runs.load_json(root / "provenance.json")["adopted"]["digest"] == runs.digest(saved)
    page = Path("reports/skin-mine/index.html").read_text(encoding="utf-8")
    (line,) = (each for each in commands(page) if " test " in each and "--stages" not in each)
    words = shlex.split(line)[3:]
    caplog.clear()
    assert cli.main(words) == 0, "the page's own command"
    assert caplog.text.count("done before, kept") >= 4
    assert "records: " in caplog.text
    saved.write_bytes(saved.read_bytes() + b" ")
    assert call(folder, "--preprocess", "minus_one_one", "--stages", "attack", "--as", "b") == 1
    assert "another file than was adopted" in capfd.readouterr().err


def test_without_a_word_on_preprocessing_a_diagnosis_is_printed_and_nothing_is_measured(
    saved: Path, folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert call(folder) == 1
    assert "minus_one_one   RGB" in caplog.text
    error = capfd.readouterr().err
    assert re.search(r"best for .*--preprocess minus_one_one( or|$)", error)
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_images_prepared_in_a_wrong_way_are_doubted_though_better_than_chance(
    model: keras.Model,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of [0, 1] in place of [-1, 1] every other dark image is taken for a bright one."""
    monkeypatch.chdir(tmp_path)
    moved = keras.models.clone_model(model)
    moved.set_weights([*model.get_weights()[:-1], np.array([1.55, -1.55], np.float32)])
    moved.save(tmp_path / "mine.keras")
    stages = ("--stages", "adopt", "predict")
    assert call(folder, "--preprocess", "unit", *stages) == 0
    (line,) = (line for line in caplog.messages if "was the model trained on that?" in line)
    assert re.search(r"on 36 images, as given \(--preprocess unit\) accuracy is 0\.[678]", line)
    caplog.clear()
    assert call(folder, "--preprocess", "minus_one_one", "--name", "right", *stages) == 0
    assert "was the model trained on that?" not in caplog.text


def test_started_in_the_folder_of_the_images_it_is_said_what_to_do(
    saved: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert cli.main(["test", str(saved), "--images", ".", "--preprocess", "minus_one_one"]) == 1
    error = capfd.readouterr().err
    assert "--images .: what is written would lie among the images; start from another" in error
    assert "--records and --runs and --out" in error
    assert sorted(each.name for each in folder.iterdir()) == ["dark", "lit"]


def test_classes_in_another_order_than_the_models_are_noticed(
    saved: Path, folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The model's first class is dark."""
    assert call(folder, "--preprocess", "minus_one_one", "--classes", "lit,dark") == 1
    assert "not above chance" in capfd.readouterr().err
    assert (
        call(
            folder,
            "--preprocess",
            "minus_one_one",
            "--classes",
            "dark,lit",
            "--name",
            "right",
            "--stages",
            "adopt",
            "predict",
        )
        == 0
    )


def test_a_confusion_matrix_by_hand() -> None:
    counts = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]])
    lines = look.confusion_lines(counts, ["a", "b", "c"])
    assert lines[0] == "clean accuracy 0.500, 2 of 4 images"
    assert [line.split()[-1] for line in lines[2:]] == ["0.500", "1.000", "0.000"]


def test_every_option_that_chooses_something_is_called_up_again() -> None:
    parser = cli._parser()
    words = shlex.split(
        "test m.keras --images d --bgr --classes a,b --custom x:Y --custom x:Z --as b --csv c.csv "
        "--epsilons 1/255 --set attack.steps=3 --runs r --out o --stages attack report --force"
    )
    given = parser.parse_args(words)
    again = parser.parse_args(["test", *command.again(given)])
    left_out = {"label", "runs", "out", "stages", "force"}
    assert {k: v for k, v in vars(again).items() if k not in left_out} == {
        k: v for k, v in vars(given).items() if k not in left_out
    }


def test_what_python_is_called_with_wrongly_is_one_line(
    images: tuple[np.ndarray, np.ndarray], model: keras.Model
) -> None:
    with pytest.raises(attnrobust.UserError, match="labels: none given"):
        attnrobust.test(model, images[0], preprocess="unit")
    with pytest.raises(attnrobust.UserError, match="expected a list of names"):
        attnrobust.test(model, *images, preprocess="unit", classes="a,b")


def test_a_class_of_the_data_that_the_model_lacks_is_named(
    saved: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, "--preprocess", "minus_one_one", "--classes", "dork,lit") == 1
    assert "the data has 'dark', too; is it 'dork'?" in capfd.readouterr().err


def test_images_of_another_size_than_the_models_are_told(
    saved: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in folder.rglob("*.png"):
        larger = Path("larger", *file.parts[-2:])
        larger.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(larger), cv2.resize(cv2.imread(str(file)), (20, 24)))
    stages = ("--stages", "adopt", "predict")
    assert call(folder, "--preprocess", "minus_one_one", *stages) == 0
    assert "are resized" not in caplog.text
    assert call(Path("larger"), "--preprocess", "minus_one_one", *stages) == 0
    assert "has 20 x 24 pixels, the model takes 16 x 16: images are resized" in caplog.text


def test_a_test_that_is_refused_leaves_no_scratch_folder(
    images: tuple[np.ndarray, np.ndarray],
    model: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(attnrobust.UserError, match=r"no attack\.name 'none'"):
        attnrobust.test(model, *images, preprocess="minus_one_one", attack="none")
    assert list(tmp_path.glob("attnrobust-*/runs")) == []
    assert list(tmp_path.glob("attnrobust-*/records")) == []


def test_python_takes_a_folder_of_more_classes_than_the_model_has_as_the_command_does(
    saved: Path, folder: Path
) -> None:
    with pytest.raises(attnrobust.UserError, match="the data has 'dark', too; is it 'dork'"):
        attnrobust.test(saved, folder, preprocess="minus_one_one", classes=["dork", "lit"])


@pytest.mark.slow
def test_a_given_model_is_loaded_once_for_all_stages(
    saved: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    real = adopted.load
    monkeypatch.setattr(adopted, "load", lambda *a, **k: loads.append("") or real(*a, **k))
    stages = ("--stages", "adopt", "predict", "attack", "explain")
    assert call(folder, "--preprocess", "minus_one_one", *stages) == 0
    assert len(loads) == 1


@pytest.mark.parametrize("named", ["", "explanation.methods=gradient"])
def test_a_model_that_shows_no_feature_map_is_explained_by_what_needs_none(
    named: str, images: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = keras.Sequential(
        [
            keras.layers.Input((SIDE, SIDE, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    asked: list[tuple[str, ...]] = []

    def stop(context: Context, stages: object) -> None:
        asked.append(context.experiment.explanation.methods)
        raise KeyboardInterrupt

    monkeypatch.setattr(testing, "run_stages", stop)
    with pytest.raises(KeyboardInterrupt):
        attnrobust.test(flat, *images, preprocess="unit", settings=[named] if named else [])
    assert asked == [("gradient",) if named else ("integrated_gradients",)]
