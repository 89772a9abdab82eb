"""Shared fixtures. The CPU is split in two before TensorFlow starts, so that MirroredStrategy and
everything spread over replicas is really exercised."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Two test processes share two cores, and so do the processes that they start.
os.environ.update(TF_NUM_INTRAOP_THREADS="1", OMP_NUM_THREADS="1")

from attnrobust import config, stack

stack.quiet()

pytest.register_assert_rewrite("attack_helpers", "command_helpers", "training_helpers")

import small_network  # noqa: E402
import tensorflow as tf  # noqa: E402

from attnrobust.models.backbones import BACKBONES  # noqa: E402

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.get_logger().setLevel("ERROR")
logging.getLogger("attnrobust").setLevel(logging.INFO)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu-durations",
        type=int,
        default=0,
        metavar="N",
        help="list the N tests that took most CPU seconds, set-up and child processes included",
    )


def _cpu_seconds() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.user_properties.append(("cpu started", _cpu_seconds()))
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = (yield).get_result()
    started = dict(item.user_properties)["cpu started"]
    report.user_properties = [("cpu", _cpu_seconds() - started)]  # also from worker processes


def pytest_collection_finish() -> None:
    """What imports left stays to the end: the collector need not go through it again and again.

    A sixth of all CPU seconds, where tests trace many small functions.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    number = terminalreporter.config.getoption("--cpu-durations")
    spent = {
        report.nodeid: dict(report.user_properties)["cpu"]
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
    }
    if number:
        terminalreporter.section(
            f"most CPU seconds: {number} of {sum(spent.values()):.0f} s in all"
        )
        for name in sorted(spent, key=spent.__getitem__, reverse=True)[:number]:
            terminalreporter.write_line(f"{spent[name]:8.2f}s {name}")


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: no real data at hand")
    return Path(value).resolve()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images, named by ATTNROBUST_DATA."""
    return _folder("ATTNROBUST_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """Folder of real weights, named by ATTNROBUST_WEIGHTS."""
    return _folder("ATTNROBUST_WEIGHTS")


@pytest.fixture(scope="session", autouse=True)
def _small_backbone() -> Iterator[None]:
    """`model.backbone=small`, in this process only."""
    small_network.add()
    yield
    del BACKBONES[small_network.NAME]


@pytest.fixture(scope="module")
def one_device() -> Iterator[None]:
    """Walks on one device where the test is not about devices: two are traced twice."""
    from attnrobust.training import strategy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategy, "mirrored", tf.distribute.get_strategy)
        yield


@pytest.fixture(scope="module")
def uncompiled() -> Iterator[None]:
    """Training step by step where a test is about what comes of it: to compile takes longest."""
    from training_helpers import leave_uncompiled

    with pytest.MonkeyPatch.context() as patch:
        leave_uncompiled(patch)
        yield


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder by name that the first test process to ask for it fills, for all of them."""
    root = tmp_path_factory.getbasetemp()
    root = root if worker_id == "master" else root.parent

    def ask(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = root / "shared" / name, root / "shared" / f"{name}.done"
        folder.parent.mkdir(exist_ok=True)
        with done.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed half-way
                fill(folder)
                done.touch()
        return folder

    return ask


@pytest.fixture(scope="session")
def drawn(shared: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A raw folder of 120 drawn images, 32 px, in HAM10000's layout; not to be changed."""
    from tfrecords import synthetic

    return (
        shared(
            "raw",
            lambda folder: synthetic.write_dataset(folder / "demo", images=120, size=32, workers=1),
        )
        / "demo"
    )


@pytest.fixture(scope="session")
def records_folder(drawn: Path, shared: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Their records; not to be changed."""
    from attnrobust.data import shards, writing
    from tfrecords import ham10000

    def write(folder: Path) -> None:
        rows, rejects = ham10000.read(drawn)
        how = shards.Preparation(size=32, shard_size=40, workers=1)
        writing.write(
            folder / "demo",
            name="demo",
            classes=ham10000.CLASSES,
            rows=rows,
            rejects=rejects,
            how=how,
        )

    return shared("records", write) / "demo"


@pytest.fixture(scope="session")
def tiny() -> config.Experiment:
    """An experiment that takes seconds."""
    return config.Experiment(
        name="tiny",
        data=config.Data(dataset="demo", image_size=32),
        model=config.Model(backbone="small", head="soft_attention", weights="none"),
        training=config.Training(epochs=2, batch_size=16, learning_rate=1e-3, adam_epsilon=1e-7),
        attack=config.Attack(
            epsilons=(0.01, 0.03), steps=4, rel_stepsize=0.3, batch_size=10, samples=6
        ),
    )


@pytest.fixture(scope="session")
def small(tiny: config.Experiment) -> config.Experiment:
    """The same without attention and by SGD, which a resume repeats to more digits."""
    return config.with_settings(
        tiny,
        ["model.head=flatten", "training.optimizer=sgd", "training.learning_rate=0.01"],
    )


@pytest.fixture(scope="module")
def cheap_pages() -> Iterator[None]:
    """Pages whose figures stay blank and whose bootstraps take few draws, since both cost most.

    For tests that ask for neither; one of each kind of figure is `in_full` or in a module without.
    """
    from attnrobust.measures import metrics
    from attnrobust.report import pictures

    class Blank(pictures.FigureCanvasAgg):
        def draw(self) -> None:
            self.get_renderer()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "RESAMPLES", 20)
        patch.setattr(pictures, "FigureCanvasAgg", Blank)
        patch.setattr(pictures, "vector", lambda *_: b"")
        yield


@pytest.fixture
def in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn after all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from attnrobust.report import pictures

    monkeypatch.setattr(pictures, "FigureCanvasAgg", FigureCanvasAgg)
