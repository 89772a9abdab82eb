"""The demo walks from drawing to report, and a second time takes everything over."""

from __future__ import annotations

import functools
import sys

import pytest

from attnrobust import cli as program
from attnrobust import config, demo
from attnrobust.attacks import methods
from attnrobust.data import shards
from attnrobust.disk import provenance
from attnrobust.report import page
from attnrobust.stages import pipeline
from experiments.demo import resnet18_gap, resnet18_soft_attention

LEFT_OUT = ("report", "export")  # the page is one on both models; nobody deploys a drawn demo
SMALL = (
    "data.image_size=32",
    "model.backbone=small",
    "training.epochs=1",
    "attack.epsilons=0.01",
    "attack.steps=2",
    "attack.rel_stepsize=0.5",
    "attack.samples=3",
    "checks.samples=4",
    "checks.draws=1",
    "checks.queries=10",
)


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_processes", lambda: 1)  # Another knows no small network.
    for module in (resnet18_gap, resnet18_soft_attention):
        monkeypatch.setattr(
            module, "EXPERIMENT", config.with_settings(module.EXPERIMENT, list(SMALL))
        )
    return tmp_path


def test_demo_walks_both_models_and_writes_their_page(small, caplog, monkeypatch):
    walked, pages = [], []
    alone = functools.partial(shards.Preparation, workers=1)
    monkeypatch.setattr(shards, "Preparation", alone)
    monkeypatch.setattr(
        demo,
        "run_stages",
        lambda context, stages: walked.append((context.experiment.name, stages)),
    )
    monkeypatch.setattr(
        page, "write", lambda runs, out, *, title: pages.append(runs) or out / "index.html"
    )
    assert program.main(["demo", "--images", "40"]) == 0
    names = ["resnet18_gap", "resnet18_soft_attention"]
    assert walked == [(name, stages) for stages in demo.STAGES for name in names]
    assert demo.STAGES[0] == ("train",), "or the first model's check has no other model"
    assert [[run.experiment.name for run in made] for made in pages] == [names]
    assert tuple(name for name in pipeline.in_order(["all"]) if name not in LEFT_OUT) == sum(
        demo.STAGES, ()
    )
    assert (small / "tfrecords" / "shards" / "demo" / "dataset.json").is_file()
    assert f"open {(small / 'reports' / 'demo' / 'index.html').resolve()}" in caplog.text


@pytest.mark.parametrize("module", [resnet18_gap, resnet18_soft_attention])
def test_the_attack_can_go_through_its_ball_and_back(module):
    """At 1.33 ε, Foolbox's steps, it had not converged: twice the steps fell 1 of 8 images more."""
    assert methods.reach(module.EXPERIMENT.attack) >= 2.5


@pytest.mark.slow
def test_demo_ends_with_a_page_on_both_models(small, caplog):
    assert program.main(["demo", "--images", "60"]) == 0
    made = small / "reports" / "demo" / "index.html"
    assert f"open {made.resolve()}" in caplog.text
    text = made.read_text(encoding="utf-8")
    for name in ("resnet18_gap", "resnet18_soft_attention"):
        assert name in text
    caplog.clear()
    assert program.main(["demo", "--images", "60"]) == 0
    assert caplog.text.count("attack/linf_pgd: done before, kept") == 2


def test_demo_of_another_size_beside_an_older_one_is_refused_in_one_line(small, capsys):
    from tfrecords import synthetic

    synthetic.write_dataset(small / demo.RAW, images=40, size=32, workers=1)
    capsys.readouterr()
    assert program.main(["demo", "--images", "60"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_run_of_the_demo_names_the_command_that_was_given(monkeypatch):
    """Its stages work in processes that are started with other words."""
    begun = []

    class Pool:
        def __init__(self, number, context, initializer, given):
            begun.append((initializer, given))

        def submit(self, work): ...

        def shutdown(self, **how): ...

    monkeypatch.setattr(demo, "_processes", lambda: 2)
    monkeypatch.setattr(demo, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "attnrobust", "demo"])
    with demo._beside_each_other(2):
        ((begin, given),) = begun
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "from multiprocessing.spawn import …"])
    monkeypatch.setenv("TQDM_DISABLE", "")
    begin(*given)
    assert provenance.command().endswith(" -m attnrobust demo")
