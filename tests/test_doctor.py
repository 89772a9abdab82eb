"""Doctor: the backbones beside Wu's Table 2, every difference counted."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from attnrobust import cli as program
from attnrobust import doctor
from attnrobust.models import build
from attnrobust.report import papers

PUBLISHED = papers.read()["wu"].parameters
# Seconds to build, each. Left are a row that equals the paper and one that differs.
LARGE = ("efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "inception_v3", "efficientnet_b0")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE))
        for name in PUBLISHED.backbones
    ],
)
def test_reasons_explain_every_single_weight(name: str) -> None:
    row = doctor.size(name, PUBLISHED)
    assert row.learnable - row.paper == sum(row.reasons.values())
    assert (row.learnable == row.paper) == (name not in ("resnet50", "inception_v3"))
    assert (abs(row.learnable / row.paper - 1) > 0.01) == (name == "inception_v3")
    if name == "resnet50":
        assert row.reasons == {"biases of its convolutions": 26_560}
    if name == "inception_v3":
        # torchvision's has 27,161,264 with two tops of 1000 classes (2,049,000, 769,000), here 5.
        assert row.paper == 27_161_264 - 2_049_000 - 769_000 + 2048 * 5 + 5 + 768 * 5 + 5
        expected = {"no auxiliary classifier": -2_561_541, "no scales in BatchNorm": -17_216}
        assert row.reasons == expected
        assert row.other == 2 * 17_216  # mean and variance for each channel that has a shift


@pytest.mark.slow
def test_doctor_lists_devices_records_and_the_papers_models(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert program.main(["doctor", "--models", "--records", str(tmp_path)]) == 0
    assert "23,602,055" in caplog.text
    assert "294,928" in caplog.text
    assert "1.25 %" in caplog.text
    assert "grows by 1.31 %" in caplog.text
    assert "47,535,287" in caplog.text
    assert "-10.59 %" in caplog.text


def test_doctor_tells_records_from_damaged_ones(
    records_folder: Path,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_models", lambda: None)
    monkeypatch.setattr(doctor, "_backbones", lambda: None)
    broken = tmp_path / "broken"
    shutil.copytree(records_folder, broken)
    next(broken.glob("test-*.tfrecord")).write_bytes(b"half")
    shutil.copytree(records_folder, tmp_path / "whole")
    assert program.main(["doctor", "--records", str(tmp_path)]) == 0
    assert "4 bytes, expected" in caplog.text
    assert "7 classes, 32 px" in caplog.text
    assert "devices\n" in caplog.text


def test_models_are_printed_beside_what_wasserman_says(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [model for model in build.PAPER_MODELS if model.backbone == "resnet50"]
    monkeypatch.setattr(build, "PAPER_MODELS", models)
    monkeypatch.setattr(doctor, "SMALL_MODELS", [])
    with caplog.at_level(logging.INFO, "attnrobust"):
        doctor._models()
    assert "grows by 1.31 %" in caplog.text
    assert "23,602,055" in caplog.text


def test_the_table_is_printed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {"no auxiliary classifier": -2_561_541, "no scales in BatchNorm": -17_216}
    row = doctor.Size("inception_v3", 21_778_597, 34_432, 24_357_354, reasons)
    monkeypatch.setattr(doctor, "size", lambda name, published: row)
    with caplog.at_level(logging.INFO, "attnrobust"):
        doctor._backbones()
    printed = [line for line in caplog.text.splitlines() if " % " in line]
    assert len(printed) == len(PUBLISHED.backbones) == 7
    assert "21,778,597" in printed[-1]
    assert "-10.59 %" in printed[-1]
    assert "no auxiliary classifier (-2,561,541), no scales in BatchNorm (-17,216)" in printed[-1]
