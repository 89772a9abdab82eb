"""The forecast counts steps and hours right and names what is missing."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from attnrobust import cli as program
from attnrobust import config, forecast
from attnrobust.training import inner


def test_steps_and_hours_follow_from_the_measured_step(tiny, caplog, monkeypatch):
    monkeypatch.setattr(forecast, "_seconds", lambda work: 2.0)
    chosen = config.with_settings(tiny, ["training.epochs=90", "training.epoch_fraction=0.1"])
    forecast.forecast(chosen, classes=7, train=1600, test=95)
    # 160 images in batches of 16: 10 steps of 2 s, 90 epochs: 0.5 h.
    assert "(8.0 images/s), 10 steps an epoch, at most 90 epochs: at most 0.5 h" in caplog.text
    # 4 steps and a pass that judges at 2 epsilons, on 10 batches of 2 s: 200 s.
    assert (
        "linf_pgd, 8 gradients and 2 passes forward an image beside first passes, on 95 test "
        "images: at most 0.1 h" in caplog.text
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        # Of 7 classes 6 are gone for; 9 weights; a start of each restart; what looks for the
        # nearest runs once for both epsilons, and asks once more whether it fell. 10 batches,
        # 2 s each.
        (
            ["name=square"],
            "0 gradients and 10,002 passes forward an image, on 95 test images: at most 55.6 h",
        ),
        (["name=square_l2", "restarts=2"], "0 gradients and 40,004 passes forward"),
        (["name=linf_pgd", "restarts=3", "steps=10"], "60 gradients and 6 passes forward"),
        (["name=bim", "restarts=3", "steps=10"], "20 gradients and 2 passes forward"),
        (["name=linf_pgd", "restarts=3", "random_start=false", "steps=10"], "20 gradients and 2 "),
        (["name=apgd_t"], "1,212 gradients and 2 passes forward"),
        (["name=cw", "steps=100"], "900 gradients and 914 passes forward"),
        (["name=deepfool_l2"], "300 gradients and 316 passes forward"),
        (["name=autoattack", "steps=10", "queries=50"], "274 gradients and 238 passes forward"),
        (["name=boundary"], "0 gradients and 5,000 passes forward"),
    ],
)
def test_every_attack_is_forecast_by_its_own_passes(tiny, settings, words, caplog, monkeypatch):
    monkeypatch.setattr(forecast, "_seconds", lambda work: 2.0)
    chosen = config.with_settings(
        tiny, ["attack.steps=none", *(f"attack.{each}" for each in settings)]
    )
    model = SimpleNamespace(output_shape=(None, 7))
    replicas = SimpleNamespace(model=model, count=1, once=lambda key, make: None)
    monkeypatch.setattr(forecast.engine, "loss_gradient", lambda replicas: None)
    forecast._forecast_attack(chosen, replicas, 95)
    assert words in caplog.text


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


@pytest.mark.parametrize(
    ("name", "message", "code"),
    [
        ("demo.resnet18_gpa", "did you mean demo.resnet18_gap", 2),
        ("demo.resnet18_gap", "no records there", 1),
    ],
)
def test_what_is_missing_is_named_in_one_line(name, message, code, tmp_path, capsys):
    assert program.main(["doctor", "--experiment", name, "--records", str(tmp_path)]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
