"""The set of versions at work: which Keras, tensorflow-addons and what takes its place, resumes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import cohen_kappa_score
from tensorflow import keras

import attnrobust
from attnrobust import cli as program
from attnrobust import config, corruptions, doctor, stack
from attnrobust.attacks import sanity, square_l2
from attnrobust.data.warping import warped
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.models.adopted import files
from attnrobust.task import overlap
from attnrobust.training.kappa import Kappa, kappa
from tfrecords import synthetic_drawing, synthetic_lesions

USED = {"training": {"epochs": 2}}


@pytest.fixture
def without_addons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "addons", lambda: None)


def rows(number: int) -> np.ndarray:
    """Matrices of every kind: turned, sheared, shifted, in perspective."""
    rng = np.random.default_rng(3)
    moved = np.tile(np.float32([1, 0, 0, 0, 1, 0, 0, 0]), (number, 1))
    moved += rng.normal(0, [0.3, 0.3, 4, 0.3, 0.3, 4, 0.01, 0.01], moved.shape)
    return moved.astype(np.float32)


@pytest.mark.parametrize("fill", ["constant", "nearest"])
def test_images_are_warped_as_by_tensorflow_addons_to_the_bit(
    fill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not stack.has_addons():
        pytest.skip("tensorflow-addons is not installed")
    images = np.random.default_rng(0).random((6, 17, 13, 3), dtype=np.float32)
    theirs = warped(tf.constant(images), tf.constant(rows(6)), fill=fill).numpy()
    monkeypatch.setattr(stack, "addons", lambda: None)
    ours = tf.function(warped)(tf.constant(images), tf.constant(rows(6)), fill=fill).numpy()
    np.testing.assert_array_equal(ours, theirs)
    assert np.abs(ours - images).max() > 0.1


@pytest.mark.usefixtures("without_addons")
def test_a_shift_by_hand() -> None:
    image = tf.constant([[1.0, 2.0, 4.0]])[None, :, :, None]
    right = tf.constant([[1.0, 0, -1, 0, 1, 0, 0, 0]])  # what lies one pixel to the left
    half = tf.constant([[1.0, 0, 0.5, 0, 1, 0, 0, 0]])
    assert warped(image, right, fill="constant")[0, 0, :, 0].numpy().tolist() == [0, 1, 2]
    assert warped(image, right, fill="nearest")[0, 0, :, 0].numpy().tolist() == [1, 1, 2]
    assert warped(image, half, fill="nearest")[0, 0, :, 0].numpy().tolist() == [1.5, 3, 4]


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 0.0, 3.0]])
def test_our_kappa_is_tensorflow_addons_and_scikit_learns(weights: list[float] | None) -> None:
    rng = np.random.default_rng(1)
    ours, theirs, seen = Kappa(4, name="kappa", dtype="float32"), kappa(4), []
    for _ in range(3):
        labels = rng.integers(0, 4, 5)
        logits = rng.normal(size=(5, 4)).astype(np.float32)
        for metric in (ours, theirs):
            metric.update_state(labels, logits, sample_weight=weights)
        seen.append((labels, logits.argmax(axis=1)))
    true, said = map(np.concatenate, zip(*seen, strict=True))
    expected = cohen_kappa_score(
        true, said, weights="quadratic", sample_weight=weights and weights * 3
    )
    assert float(ours.result()) == pytest.approx(expected, abs=1e-6)
    assert float(theirs.result()) == pytest.approx(expected, abs=1e-6)
    assert [tuple(v.shape) for v in ours.variables] == [tuple(v.shape) for v in theirs.variables]
    for metric in (ours, theirs):
        metric.reset_state()
        assert float(metric.result()) == 0.0, "nothing seen yet"


@pytest.mark.usefixtures("without_addons")
def test_our_kappa_counts_in_validation_under_a_strategy() -> None:
    with tf.distribute.MirroredStrategy(["/CPU:0", "/CPU:1"]).scope():
        image = keras.Input((5,))
        model = keras.Model(image, keras.layers.Dense(4)(image))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=[kappa(4)])
    assert type(model.compiled_metrics._user_metrics[0]) is Kappa
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(30, 5)).astype(np.float32), rng.integers(0, 4, 30)
    found = model.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)["kappa"]
    said = model(images).numpy().argmax(axis=1)
    assert found == pytest.approx(cohen_kappa_score(labels, said, weights="quadratic"), abs=1e-5)


@pytest.mark.slow
def test_keras_is_keras_2_whatever_the_environment_asks_for() -> None:
    code = (
        "import attnrobust, importlib.metadata as m, sys; from tensorflow import keras; "
        "from attnrobust import stack; model = keras.Sequential([keras.layers.Dense(1)]);"
        "print(type(model).__module__.split('.')[0].replace('_', '-'), stack.KERAS, "
        "stack.version(stack.KERAS), 'tensorflow_addons' in sys.modules)"
    )
    asked = {**os.environ, "TF_USE_LEGACY_KERAS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=True
    )
    at_work, named, version, addons = done.stdout.split()
    assert at_work == named
    assert version.startswith("2.")
    assert addons == "False", "imported before it is used"


ROOT = Path(__file__).parents[1]


def test_the_versions_of_python_are_those_of_the_package_and_of_make() -> None:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [each.split(" :: ")[-1] for each in about["classifiers"] if "Python :: 3" in each]
    assert tuple(named) == stack.PYTHONS
    after = f"3.{int(named[-1].removeprefix('3.')) + 1}"
    assert about["requires-python"] == f">={named[0]},<{after}"
    made = re.search(r"^VERSIONS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert made
    assert tuple(made[1].split()) == stack.PYTHONS


@pytest.mark.parametrize(
    ("python", "keras", "said"),
    [
        ((3, 10), "2.15.0", "this is Python 3.10, expected one of 3.11, 3.12, 3.13"),
        ((3, 14), "2.21.0", "this is Python 3.14, expected one of 3.11, 3.12, 3.13"),
        ((3, 12), "3.15.1", "KERAS 3.15.1, expected KERAS 2 beside TensorFlow"),
        ((3, 11), "not installed", "KERAS not installed, expected KERAS 2 beside TensorFlow"),
    ],
)
def test_a_python_without_either_set_is_told_so_in_one_line(
    python: tuple[int, int],
    keras: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert stack.unfit() == ""
    monkeypatch.setattr(sys, "version_info", python)
    monkeypatch.setattr(stack, "version", lambda name: keras)
    assert program.main(["doctor", "--records", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said.replace("KERAS", stack.KERAS) in line
    with pytest.raises(UserError, match=re.escape(said.replace("KERAS", stack.KERAS))):
        attnrobust.test("model.keras", np.zeros((2, 8, 8, 3)), [0, 1], preprocess="unit")


def test_a_checkout_where_nothing_is_installed_is_told_so_in_one_line() -> None:
    words = [sys.executable, "-S", "-m", "attnrobust", "doctor"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{stack.KERAS} not installed, expected" in line


CHATTER = b"""\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1.2   1 port.cc:153] oneDNN custom operations are on. You may see
I0000 00:00:1.2   1 cudart_stub.cc:31] Could not find cuda drivers on your machine
"""
WORDS = (
    b"F0000 00:00:1.2   1 cpu_feature_guard.cc:1] needs AVX2\nlast words, oneDNN custom operations"
)


@pytest.mark.parametrize(
    ("end", "level", "code"),
    [
        ("pass", 3, 0),
        ("raise ImportError('libtensorflow.so')", 3, 1),
        ("os.abort()", 3, -signal.SIGABRT),
        ("os.kill(os.getpid(), 9)", 1, -signal.SIGKILL),
        ("pass", 0, 0),
    ],
)
def test_tensorflows_chatter_is_left_out_and_no_other_word_of_its(
    end: str, level: int, code: int, tmp_path: Path
) -> None:
    said = CHATTER + WORDS
    (tmp_path / "tensorflow.py").write_text(f"import os\nos.write(2, {said!r})\n{end}\n")
    work = (
        "import os; from attnrobust import stack; stack.NEW = True; stack.choose_keras();"
        f"import tensorflow; os.write(2, {CHATTER!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", work],
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
            "TF_CPP_MIN_LOG_LEVEL": str(level),
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == code
    expected = WORDS if level else said
    loaded, rest = done.stderr[: len(expected)], done.stderr[len(expected) :]
    assert loaded == expected
    if code == 0:
        assert rest == CHATTER, "only while it is loaded"
    else:
        assert (b"ImportError: libtensorflow.so" in rest) == (code == 1)


def test_tensorflow_addons_leaves_keras_as_it_was() -> None:
    if not stack.has_addons():
        pytest.skip("tensorflow-addons is not installed")
    assert stack.addons() is stack.addons()
    if stack.NEW:
        import keras as third

        assert third.__version__.startswith("3."), "another Keras stands under that name"
        assert not any(name.startswith("keras.src.engine") for name in sys.modules)


def test_the_set_is_the_interpreters() -> None:
    set_of = {"tensorflow": metadata.version("tensorflow"), stack.KERAS: stack.keras().split()[1]}
    assert stack.at_work() == set_of
    assert (sys.version_info >= (3, 12)) == (stack.KERAS == "tf-keras") == stack.NEW


def test_a_model_of_keras_3_is_refused_in_one_line() -> None:
    image = keras.Input((8,))
    stack.refuse_keras_3(keras.Model(image, keras.layers.Dense(2)(image)))
    stack.refuse_keras_3("model.keras")
    third = type("Functional", (), {"__module__": "keras.src.models.model"})()
    with pytest.raises(UserError, match="made with Keras 3, expected Keras 2") as refused:
        attnrobust.test(third, np.zeros((2, 8, 8, 3)), [0, 1], preprocess="unit")
    assert "\n" not in str(refused.value)


def test_a_file_of_keras_3_is_refused_by_both_versions(tmp_path: Path) -> None:
    layers = [{"module": "keras.layers", "class_name": "InputLayer", "registered_name": None}]
    layers[0] |= {"config": {"batch_shape": [None, 8, 8, 3], "dtype": "float32", "name": "i"}}
    third = {"module": "keras", "class_name": "Sequential", "registered_name": None}
    third |= {"config": {"name": "s", "layers": layers}}
    with zipfile.ZipFile(tmp_path / "third.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", json.dumps(third))
        archive.writestr("model.weights.h5", b"")
    asked = config.Adopted(file=str(tmp_path / "third.keras"))
    said = rf"written by Keras 3.15.1, and {stack.keras()} cannot read it; there, .*model.export"
    with pytest.raises(UserError, match=said):
        files.opened(asked)


OTHERS = {"tensorflow": "2.30.0", "keras": "4.0.0"}


def cut_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that other versions began and did not finish."""
    with monkeypatch.context() as patch:
        patch.setattr(stack, "at_work", lambda: OTHERS)
        with (
            contextlib.suppress(KeyboardInterrupt),
            run.stage("predict", used=USED, inputs="x") as folder,
        ):
            (folder / "clean.npz").write_bytes(b"half")
            raise KeyboardInterrupt


@pytest.fixture
def run(tiny: config.Experiment, tmp_path: Path) -> Run:
    return Run.of(tiny, tmp_path)


def test_half_a_stage_of_other_versions_is_refused_by_name(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(run, monkeypatch)
    now = " and ".join(f"{name} {version}" for name, version in stack.at_work().items())
    said = rf"predict was made in part with tensorflow 2.30.0 and keras 4.0.0 \(now {now}\); go on"
    with pytest.raises(UserError, match=said), run.stage("predict", used=USED, inputs="x"):
        pass
    with run.stage("predict", used=USED, inputs="x", force=True) as folder:
        assert not (folder / "clean.npz").exists()
    assert run.stamp("predict")["stack"] == stack.at_work()


def test_a_finished_stage_of_other_versions_is_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stack, "at_work", lambda: OTHERS)
        with run.stage("predict", used=USED, inputs="x") as folder:
            (folder / "clean.npz").write_bytes(b"whole")
    with run.stage("predict", used=USED, inputs="x") as again:
        assert again is None


@pytest.mark.parametrize("there", [True, False])
def test_doctor_names_the_keras_at_work_and_a_stand_in(
    there: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_devices", lambda: None)
    monkeypatch.setattr(stack, "has_addons", lambda: there)
    assert program.main(["doctor", "--records", str(tmp_path)]) == 0
    version = re.escape(metadata.version(stack.KERAS))
    assert re.search(rf"Keras at work +{stack.KERAS} {version}\n", caplog.text)
    assert ("without tensorflow-addons our own code" in caplog.text) == (not there)


@pytest.fixture
def numpy_2() -> Iterator[None]:
    """NumPy 1 promotes as NumPy 2 does, and where the two differ is an error."""
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        yield
        return
    np._set_promotion_state("weak_and_warn")
    yield
    np._set_promotion_state("legacy")


@pytest.mark.usefixtures("numpy_2")
def test_sizes_beside_an_epsilon_do_not_hang_on_numpys_rules_of_promotion() -> None:
    """A float32 sum less a Python number was a float64 for NumPy 1, for NumPy 2 it is none."""
    rng = np.random.default_rng(0)
    change = rng.normal(0, 0.01, (9, 9, 3)).astype(np.float32)
    square_l2._moved(rng, change, 3, 0.5)
    images = rng.random((2, 8, 8, 3), dtype=np.float32) / 2
    made = images + np.float32(0.1)
    files = {0.0: {"sample_image": images}, 0.1: {"sample_image": made, "linf": np.float32([0.1])}}
    subject = SimpleNamespace(
        norm="linf", epsilon=0.1, files=files, attacked=(made,), images=images
    )
    held, said = sanity.bounds(cast(Any, subject))
    assert held
    assert said.startswith(f"at most {float(np.abs(made - images).max()) - 0.1:.1g} beyond")


def test_as_many_classes_as_a_byte_holds_have_a_dice() -> None:
    """Of bytes and the number 256 NumPy 1 makes wider numbers, NumPy 2 an error."""
    maps = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(overlap.dice_by_class(maps, maps, 256), np.ones((1, 256)))


@pytest.mark.usefixtures("numpy_2")
def test_corruptions_and_drawn_images_do_not_hang_on_numpys_rules_of_promotion() -> None:
    image = np.random.default_rng(0).random((1, 48, 48, 3), dtype=np.float32)
    for name in corruptions.CORRUPTIONS:
        assert corruptions.corrupt(image, ["a"], name, 5, seed=0).dtype == np.float32
    for dx in synthetic_lesions.TRAITS:
        rng = np.random.default_rng(1)
        view = synthetic_drawing._aim(rng, 96)
        drawn, _ = synthetic_drawing._paint(synthetic_lesions.new_lesion(rng, dx), view)
        for _ in range(8):  # the lens' edge is on one in seven
            assert synthetic_drawing._light(rng, drawn).dtype == np.float32
