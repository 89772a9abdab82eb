"""What a training goes on from is checked before it is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.training.state import State

ROWS = [{"epoch": 1, "loss": 1.0, "val_loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_loss": 1.0}]
WORDS: dict[str, Any] = {"history": ROWS, "best": 1.0, "wait": 0}


def save(folder: Path, words: object) -> None:
    text = words if isinstance(words, str) else json.dumps(words)
    runs.save_npz(folder / "state.npz", words=np.array(text), v00000=np.zeros(3))


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    save(tmp_path, WORDS)
    state = State.load(tmp_path)
    assert (state.history, state.best, state.wait, state.epoch) == (ROWS, 1.0, 0, 2)


@pytest.mark.parametrize(
    "words",
    [
        "{",
        [],
        {},
        {**WORDS, "best": "x"},
        {**WORDS, "wait": -1},
        {**WORDS, "history": ROWS[1:]},
        {**WORDS, "history": [{"epoch": 1}]},
        {**WORDS, "history": [{**ROWS[0], "loss": "x"}]},
    ],
)
def test_a_damaged_state_is_one_line(words: object, tmp_path: Path) -> None:
    save(tmp_path, words)
    with pytest.raises(UserError, match=r"state\.npz: damaged \(.*\); delete it to train anew"):
        State.load(tmp_path)


def test_a_cut_or_foreign_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    save(tmp_path, WORDS)
    content = path.read_bytes()
    for spoilt in (b"", content[:200], b"x" * 300):
        path.write_bytes(spoilt)
        with pytest.raises(UserError, match=r"state\.npz: damaged"):
            State.load(tmp_path)
    runs.save_npz(path, v00000=np.zeros(3))
    with pytest.raises(UserError, match=r"state\.npz: damaged"):
        State.load(tmp_path)
