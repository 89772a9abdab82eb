"""Judging what an attack made: what it let go too soon is attacked on, in the checks as well."""

from __future__ import annotations

import check_helpers
import numpy as np
import pytest
from attack_helpers import linear

from attnrobust.attacks import judging, packing
from attnrobust.attacks.packing import Stopping
from attnrobust.attacks.subject import Subject
from attnrobust.models.replicas import Replicas


def test_what_cost_less_than_all_queries_was_let_go():
    spent = np.array([3, 10, 11])
    stopped = packing.stopped_early(Stopping(lambda *_: None, 11), spent)
    assert stopped.tolist() == [True, True, False]
    assert not packing.stopped_early(lambda *_: None, spent).any(), "one that lets none go"


@pytest.mark.parametrize(
    ("name", "steps"),
    [("linf_pgd", 10), ("linf_pgd", 3), ("apgd_ce", 10), ("square", 10)],
)
def test_a_check_attacks_on_what_is_judged_right(name, steps, monkeypatch):
    """By a judge that sees the logit of an image's label 0.7 higher."""
    subject = check_helpers.doubted(Replicas(linear(5)))

    def strict(self: Subject, images: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        labels = self.labels[rows]
        lifted = self.logits(images)
        lifted[np.arange(len(images)), labels] += 0.7
        return lifted.argmax(axis=1) == labels

    monkeypatch.setattr(Subject, "stands", strict)
    asked = {"epsilon": 0.1, "steps": steps, "rel_stepsize": 0.3, "queries": 200}
    _, whole = subject.under(name, **asked, early_stop=False)
    _, stands = subject.under(name, **asked)
    assert whole.mean() < 0.7
    assert not (stands & ~whole).any()
    monkeypatch.setattr(judging, "in_full", lambda *_: None)
    _, weaker = subject.under(name, **asked)
    assert (weaker & ~whole).any(), "the judge differs from the attack"
