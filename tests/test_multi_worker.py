"""Two workers on loopback: equal weights, one writer, and a killed worker does not lose the run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from attnrobust import config
from attnrobust.data import records
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.run import main
from attnrobust.training import fit, state, strategy
from experiments.demo import resnet18_gap

ROOT = Path(__file__).parents[1]
EPOCHS = 4
# Trains as the command line does, then tells what this worker's own weights are.
WORKER = """
import sys
import numpy as np
from attnrobust.run import main
from attnrobust.training import fit
from experiments.demo.resnet18_gap import EXPERIMENT
real = fit.train
def train(*args):
    model = real(*args)
    np.savez(sys.argv[1], *model.get_weights())
    return model
fit.train = train
raise SystemExit(main(EXPERIMENT, sys.argv[2:]))
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(index: int, ports: list[int], folder: Path, shards: Path) -> subprocess.Popen[str]:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    task = {"type": "worker", "index": index}
    words = [
        "train",
        "--strategy",
        "multi_worker",
        "--records",
        str(shards),
        "--runs",
        str(folder / "runs"),
        "--set",
        "data.image_size=32",
        "--set",
        "model.width=0.125",
        "--set",
        f"training.epochs={EPOCHS}",
    ]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder / f"weights-{index}.npz"), *words],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": task})},
    )


@pytest.mark.slow
def test_two_workers_end_with_equal_weights_after_one_was_killed(records_folder, tmp_path):
    train = tmp_path / "runs" / "demo" / "resnet18_gap" / "seed-0" / "train"
    ports = [free_port(), free_port()]
    chief, helper = (start(index, ports, tmp_path, records_folder) for index in (0, 1))
    history, kept = train / "history.jsonl", train / "state" / "state.npz"
    while not kept.exists() and chief.poll() is None:
        time.sleep(0.05)
    os.kill(helper.pid, signal.SIGKILL)
    helper.communicate()
    said, _ = chief.communicate(timeout=120)
    assert chief.returncode == 1, said
    assert said.splitlines()[-1].startswith("error: another worker was lost; start all"), said
    done = state.State.load(kept.parent).epoch
    assert 1 <= done < EPOCHS
    assert not runs.load_json(train / "stage.json")["finished"]

    ports = [free_port(), free_port()]
    workers = [start(index, ports, tmp_path, records_folder) for index in (0, 1)]
    spoken = [worker.communicate(timeout=240)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], spoken
    for text in spoken:
        assert f"going on after epoch {done}" in text
    assert "2 in all" in spoken[0]
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    assert rows[-1]["loss"] < rows[0]["loss"]

    one, two = (runs.load_npz(tmp_path / f"weights-{index}.npz") for index in (0, 1))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    events = list((train / "tensorboard").iterdir())
    assert all(f".{helper.pid}." not in event.name for event in events)
    left = {path.name for path in train.iterdir()}
    assert left == {"weights.h5", "history.jsonl", "tensorboard", "stage.json"}
    assert runs.load_json(train / "stage.json")["finished"]
    run = runs.find_runs([tmp_path / "runs"])[0]
    assert isinstance(run.experiment, config.Experiment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    ],
)
def test_a_wrong_tf_config_ends_in_one_clear_line(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=r"TF_CONFIG = .*expected all workers and which one this"):
        strategy.multi_worker()


def test_one_machine_writes_for_itself():
    assert strategy.is_chief(tf.distribute.get_strategy())
    assert strategy.is_chief(strategy.mirrored())


def test_one_machine_waits_for_nobody(monkeypatch):
    """TensorFlow warns of what runs under a strategy step by step."""
    for one in (tf.distribute.get_strategy(), strategy.mirrored()):
        monkeypatch.setattr(one, "run", lambda *_: pytest.fail("it has run something"))
        strategy.wait_for_all(one)


@pytest.mark.parametrize(
    ("jobs", "task", "writes"),
    [
        (["worker"], ("worker", 0), True),
        (["worker"], ("worker", 1), False),
        (["chief", "worker"], ("chief", 0), True),
        (["chief", "worker"], ("worker", 0), False),
    ],
)
def test_of_several_machines_the_first_writes(jobs, task, writes):
    cluster = tf.train.ClusterSpec({job: ["a:1", "b:1"][: 1 + (job == "worker")] for job in jobs})
    found = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type=task[0], task_id=task[1]
    )
    assert strategy.is_chief(SimpleNamespace(cluster_resolver=found)) == writes


def test_a_helping_worker_trains_along_and_writes_nothing(
    small, records_folder, tmp_path, monkeypatch
):
    """It sees the chief's folder: what stands there when it ends is what the chief wrote."""
    dataset, one = records.load(records_folder), tf.distribute.get_strategy()
    experiment, trained = config.with_settings(small, ["training.epochs=1"]), []

    def noted(*_, epoch, **__):
        trained.append(epoch)
        return {
            "epoch": 1,
            "loss": 1.0,
            "accuracy": 0.5,
            "val_loss": 1.0,
            "val_accuracy": 0.5,
            "seconds": 0.0,
        }

    monkeypatch.setattr(fit, "_one_epoch", noted)
    chief = fit.train(experiment, dataset, tmp_path, one)
    shutil.rmtree(tmp_path / "state")

    def files() -> dict:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    before = files()
    monkeypatch.setattr(fit, "is_chief", lambda _: False)
    helper = fit.train(experiment, dataset, tmp_path, one)
    assert trained == [0, 0]
    assert files() == before
    for mine, his in zip(helper.get_weights(), chief.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, his)


@pytest.mark.parametrize(
    ("machines", "text"),
    [
        (True, "Collective ops is aborted by"),
        (False, "Collective ops is aborted by"),
        (True, "OOM when allocating tensor"),
    ],
)
def test_a_lost_worker_ends_in_one_clear_line(machines, text, small, tmp_path, monkeypatch):
    def lost(*_):
        raise tf.errors.UnavailableError(None, None, text)

    monkeypatch.setattr(fit, "_train", lost)
    extended = SimpleNamespace(_in_multi_worker_mode=lambda: machines)
    expected = UserError if machines and "ollective" in text else tf.errors.UnavailableError
    with pytest.raises(expected, match=r"another worker was lost; start all|" + text[:8]) as stop:
        fit.train(small, None, tmp_path, SimpleNamespace(extended=extended))
    assert isinstance(stop.value, expected)


@pytest.mark.parametrize("words", [["predict"], ["all"], ["train", "--force"]])
def test_other_stages_are_refused_over_several_machines(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(resnet18_gap.EXPERIMENT, [*words, "--strategy", "multi_worker"])
    assert stop.value.code == 2
    assert "is for 'train' alone" in capsys.readouterr().err
