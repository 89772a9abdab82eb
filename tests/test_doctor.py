"""Doctor: the backbones beside Wu's Table 2, every difference counted."""

from __future__ import annotations

import logging

import pytest

from attnrobust import doctor


@pytest.fixture(scope="module")
def rows() -> dict[str, doctor.WuRow]:
    return {row.backbone: row for row in doctor.wu_table()}


def test_reasons_explain_every_single_weight(rows: dict[str, doctor.WuRow]) -> None:
    assert list(rows) == list(doctor.WU_PARAMETERS)
    for row in rows.values():
        assert row.learnable - row.paper == sum(row.reasons.values()), row.backbone


def test_all_but_inception_are_within_one_percent(rows: dict[str, doctor.WuRow]) -> None:
    far = [name for name, row in rows.items() if abs(row.learnable / row.paper - 1) > 0.01]
    assert far == ["inception_v3"]
    equal = [name for name, row in rows.items() if row.learnable == row.paper]
    assert equal == ["resnet18", *(f"efficientnet_b{number}" for number in range(4))]


def test_sizes_of_the_inception_that_differs(rows: dict[str, doctor.WuRow]) -> None:
    # torchvision's has 27,161,264 with two tops of 1000 classes (2,049,000 and 769,000), here 5.
    torch = 27_161_264 - 2_049_000 - 769_000 + 2048 * 5 + 5 + 768 * 5 + 5
    row = rows["inception_v3"]
    assert row.paper == torch
    assert row.reasons == {"no auxiliary classifier": -2_561_541, "no scales in BatchNorm": -17_216}
    assert row.other == 2 * 17_216  # mean and variance for each channel that has a shift
    assert rows["resnet50"].reasons == {"biases of its convolutions": 26_560}


def test_the_table_is_printed(
    rows: dict[str, doctor.WuRow],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "wu_table", lambda: list(rows.values()))
    with caplog.at_level(logging.INFO, "attnrobust"):
        doctor._backbones()
    printed = [line for line in caplog.text.splitlines() if " % " in line]
    assert len(printed) == len(rows)
    assert "21,778,597" in printed[-1]
    assert "-10.59 %" in printed[-1]
    assert "no auxiliary classifier (-2,561,541), no scales in BatchNorm (-17,216)" in printed[-1]
