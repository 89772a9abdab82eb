"""Upside down or not: the rule by hand, the optic nerve on drawn eyes, and eyes turned back."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from data_helpers import encoded, pixels

from attnrobust.data import shards, upright
from attnrobust.data.raw import Row
from attnrobust.errors import UserError
from tfrecords import eyepacs


@pytest.mark.parametrize(
    ("notch", "nerve", "eye", "expected"),
    [
        ("upper right", "", "", "no"),
        ("lower left", "", "", "yes"),
        ("", "", "left", "cannot tell"),
        ("", "left", "", "cannot tell"),
        ("", "left", "left", "no"),
        ("", "right", "right", "no"),
        ("", "right", "left", "yes"),
        ("", "left", "right", "yes"),
        ("upper right", "left", "left", "no"),
        ("lower left", "right", "left", "yes"),
        # Mirrored, named after the other eye, or one of the two is seen wrongly.
        ("upper right", "left", "right", "cannot tell"),
        ("lower left", "left", "left", "cannot tell"),
    ],
)
def test_the_rule_by_hand(notch: str, nerve: str, eye: str, expected: str) -> None:
    assert upright.turned(notch, nerve, eye) == expected


def right_eye(size: int, *, nerve: int = 235, frame: int = 0) -> np.ndarray:
    """A disc that fills a square: nerve on the right, vessels up and down from it, macula left."""
    half = size / 2
    image = np.zeros((size, size, 3), np.uint8)
    at = (round(1.5 * half), round(0.95 * half))
    middle = (round(half), round(half))
    cv2.circle(image, middle, round(half), (150, 90, 50), -1)
    cv2.circle(image, (round(0.75 * half), at[1]), size // 12, (110, 60, 35), -1)
    cv2.circle(image, at, size // 16, (nerve,) * 3, -1)
    for way in (-1, 1):
        for reach in (0.25, 0.4, 0.6):
            end = (round(at[0] - (reach - 0.3) * half), round(at[1] + way * 0.6 * half))
            cv2.line(image, at, end, (110, 40, 30), max(1, size // 64))
    image[: frame * size // 100] = 0
    return image


@pytest.mark.parametrize("size", [100, 128, 500])
@pytest.mark.parametrize("frame", [0, 15])
def test_the_side_of_the_nerve(size: int, frame: int) -> None:
    image = right_eye(size, frame=frame)
    assert upright.nerve_side(image) == "right"
    assert upright.nerve_side(image[::-1, ::-1]) == "left"
    assert upright.nerve_side(image[:, ::-1]) == "left"
    assert upright.nerve_side(image[::-1]) == "right"


def test_nothing_is_told_of_an_eye_that_shows_no_nerve() -> None:
    assert upright.nerve_side(right_eye(256, nerve=92)) == ""
    assert (
        upright.nerve_side(cv2.circle(np.zeros((99, 99, 3), np.uint8), (49, 49), 49, 90, -1)) == ""
    )
    assert upright.nerve_side(np.full((99, 99, 3), 7, np.uint8)) == ""


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("turn", [False, True])
def test_what_is_upside_down_is_turned_back_if_wished(
    upside_down: bool, turn: bool, tmp_path: Path
) -> None:
    image = np.pad(right_eye(240), ((20, 20), (40, 40), (0, 0)))
    path = tmp_path / "1_right.png"
    path.write_bytes(encoded(image[::-1, ::-1] if upside_down else image, "PNG"))
    row = Row("1_right", path, "no_dr", "1", 2, eye="right")
    how = shards.Preparation(size=128, fit="disc", turn_inverted=turn)
    content, made = shards.prepare_image(row, how)
    assert made.facts["turned"] == ("yes" if upside_down else "no")
    bright = pixels(content).min(axis=2) > 160
    assert (np.flatnonzero(bright.any(axis=0)).mean() > 64) == (turn or not upside_down)


def test_an_eye_is_known_by_its_id_and_one_to_turn_must_be_looked_for(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for side in ("left", "right"):
        (tmp_path / "train" / f"1_{side}.png").write_bytes(encoded(right_eye(64), "PNG"))
    (tmp_path / "trainLabels.csv").write_text("image,level\n1_left,0\n1_right,0\n")
    assert [row.eye for row in eyepacs.read(tmp_path)[0]] == ["left", "right"]
    with pytest.raises(UserError, match=r"--turn-inverted: .* expected --fit disc, got crop"):
        shards.Preparation(fit="crop", turn_inverted=True)
