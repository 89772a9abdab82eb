"""The checks refuse what must not be believed, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from attnrobust.attacks import checks
from attnrobust.errors import UserError


def test_probabilities_are_told_from_logits():
    checks.are_logits(np.array([[0.2, 0.8], [0.9, 0.3]]))
    checks.are_logits(np.array([[-1.0, 2.0], [0.5, 0.5]]))
    with pytest.raises(UserError, match="probabilities"):
        checks.are_logits(np.array([[0.2, 0.8], [0.5, 0.5]]))


def test_box_and_ball_have_edges():
    checks.in_box(np.array([0.0, 1.0]))
    for outside in (-1e-6, 1.000001, np.nan):
        with pytest.raises(ValueError, match="left its box"):
            checks.in_box(np.array([0.5, outside]))
    checks.in_ball(np.array([0.1, 0.1 + 9e-7]), 0.1)
    with pytest.raises(ValueError, match=r"left its ball at ε 0\.1: change 0\.1001"):
        checks.in_ball(np.array([0.05, 0.1001]), 0.1)


def test_norms_by_hand():
    change = np.zeros((2, 2, 2, 3), np.float32)
    change[1, 0, 0] = [0.3, 0, -0.4]
    change[1, 1, 1, 2] = 0.1
    sizes = checks.norms(change)
    assert sizes["linf"] == pytest.approx([0, 0.4])
    assert sizes["l2"] == pytest.approx([0, np.sqrt(0.26)])
    assert sizes["l0"].tolist() == [0, 2]
