"""The forecast counts steps and hours right and names what is missing."""

from __future__ import annotations

import re

import pytest

from attnrobust import __main__ as program
from attnrobust import config, forecast
from attnrobust.training import inner


def test_steps_and_hours_follow_from_the_measured_step(tiny, caplog, monkeypatch):
    monkeypatch.setattr(forecast, "_seconds", lambda work: 2.0)
    chosen = config.with_settings(tiny, ["training.epochs=90", "training.epoch_fraction=0.1"])
    forecast.forecast(chosen, classes=7, train=1600, test=95)
    # 160 images in batches of 16: 10 steps of 2 s, 90 epochs: 0.5 h.
    assert "(8.0 images/s), 10 steps an epoch, at most 90 epochs: at most 0.5 h" in caplog.text
    # 4 steps at 2 epsilons on 10 batches of 2 s: 160 s.
    assert "8 steps on 95 test images: at most 0.0 h" in caplog.text


@pytest.mark.usefixtures("one_device")
def test_a_real_step_is_measured(tiny, caplog):
    forecast.forecast(tiny, classes=7, train=100, test=20)
    rate = re.search(r"train: .*?\(([0-9.]+) images/s\)", caplog.text)
    assert rate is not None
    assert float(rate[1]) > 0
    memory = re.search(r"memory of a replica so far: ([0-9.]+) GB", caplog.text)
    assert memory is not None
    assert 0.1 < float(memory[1]) < 24


@pytest.mark.usefixtures("one_device")
def test_a_robust_step_is_measured_with_its_attack(tiny, caplog, monkeypatch):
    seen = []
    monkeypatch.setattr(inner, "ascend", lambda f, x, start, **kw: seen.append(kw) or x + start)
    chosen = config.with_settings(tiny, ["training.method=trades", "training.inner_steps=5"])
    forecast.forecast(chosen, classes=7, train=100, test=20)
    assert seen
    assert seen[0]["steps"] == 5
    assert "at most" in caplog.text


@pytest.mark.parametrize(("name", "message"), [
    ("demo.resnet18_gpa", "did you mean demo.resnet18_gap"),
    ("demo.resnet18_gap", "no records there"),
])  # fmt: skip
def test_what_is_missing_is_named_in_one_line(name, message, tmp_path, capsys):
    assert program.main(["doctor", "--experiment", name, "--records", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
