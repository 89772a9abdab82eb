"""The demo walks from drawing to report, and a second time takes everything over."""

from __future__ import annotations

import pytest

from attnrobust import __main__ as program
from attnrobust import config, demo
from experiments.demo import resnet18_gap, resnet18_soft_attention

SMALL = (
    "data.image_size=32",
    "model.width=0.125",
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
    for module in (resnet18_gap, resnet18_soft_attention):
        monkeypatch.setattr(
            module, "EXPERIMENT", config.with_settings(module.EXPERIMENT, list(SMALL))
        )
    return tmp_path


def test_demo_ends_with_a_page_on_both_models(small, caplog):
    assert program.main(["demo", "--images", "150"]) == 0
    page = small / "reports" / "demo" / "index.html"
    assert f"open {page.resolve()}" in caplog.text
    text = page.read_text(encoding="utf-8")
    for name in ("resnet18_gap", "resnet18_soft_attention"):
        assert name in text
    caplog.clear()
    assert program.main(["demo", "--images", "150"]) == 0
    assert caplog.text.count("attack/linf_pgd: done before, kept") == 2


def test_demo_of_another_size_beside_an_older_one_is_refused_in_one_line(small, capsys):
    from tfrecords import synthetic

    synthetic.write_dataset(small / demo.RAW, images=40, size=32, workers=1)
    capsys.readouterr()
    assert program.main(["demo", "--images", "60"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
