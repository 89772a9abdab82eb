"""TASKS: the same verdict in NumPy and in a graph, and who falls for which aim."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from attnrobust import task
from attnrobust.task import TASKS, graph

LOGITS = np.array([[2, 1, 0], [0, 3, 3], [1, 5, 2], [-1, -2, -3]], np.float32)
LABELS = np.array([0, 2, 1, 2])


def test_a_row_stands_in_both_tables():
    assert TASKS.keys() == graph.GRAPHS.keys()
    assert len({row.axes for row in TASKS.values()}) == len(TASKS)
    for row in TASKS.values():
        assert {"label", row.scores} <= row.stored.keys()


def test_right_is_the_first_of_the_highest_logits():
    np.testing.assert_array_equal(task.predict(LOGITS), [0, 1, 1, 0])
    np.testing.assert_array_equal(task.right(LOGITS, LABELS), [True, False, True, False])
    found = {"id": np.arange(4), "label": LABELS, "logits": LOGITS}
    np.testing.assert_array_equal(task.right_in(found), [True, False, True, False])


def test_an_aim_tells_what_is_wrong_from_what_has_fallen():
    row = TASKS["classify"]
    right, wrong, fallen = task.RIGHT, task.WRONG, task.FALLEN
    np.testing.assert_array_equal(row.reached(LOGITS, LABELS, None), [right, fallen, right, fallen])
    np.testing.assert_array_equal(row.reached(LOGITS, LABELS, 1), [right, fallen, fallen, wrong])


def test_numpy_and_graph_agree_on_who_is_wrong():
    rng = np.random.default_rng(0)
    logits = rng.integers(-3, 4, size=(500, 4)).astype(np.float32)
    labels = rng.integers(4, size=500)
    made = graph.of(logits)
    wrong = tf.function(made.wrong)(tf.constant(logits), tf.constant(labels)).numpy()
    np.testing.assert_array_equal(wrong, ~task.right(logits, labels))
    lead = made.margin(tf.constant(logits), tf.constant(labels)).numpy()
    # Where two logits are equal the first class is the prediction.
    np.testing.assert_array_equal(wrong[lead != 0], (lead > 0)[lead != 0])


def test_margin_and_log_odds_by_hand():
    logits, labels = tf.constant([[1.0, 3.0, 2.0]]), tf.constant([2])
    assert graph.margin(logits, labels).numpy() == pytest.approx([1.0])
    assert graph.log_odds_against(logits, labels).numpy() == pytest.approx(
        [np.log(np.exp(1) + np.exp(3)) - 2], rel=1e-6
    )
    assert graph.cross_entropy(logits, labels).numpy() == pytest.approx(
        [np.log(np.exp(1) + np.exp(3) + np.exp(2)) - 2], rel=1e-6
    )


def test_logits_with_places_give_a_number_for_each():
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(2, 3, 3, 4)), tf.float32)
    labels = tf.constant(rng.integers(4, size=(2, 3, 3)))
    flat, each = tf.reshape(logits, (-1, 4)), tf.reshape(labels, [-1])
    for function in (graph.margin, graph.log_odds_against, graph.cross_entropy, graph.wrong):
        found = function(logits, labels).numpy()
        np.testing.assert_array_equal(found.reshape(-1), function(flat, each).numpy())


def test_logits_of_no_task_are_said():
    with pytest.raises(ValueError, match="logits of 3 axes"):
        task.right(np.zeros((2, 3, 4)), np.zeros(2))


def test_tasks_need_no_tensorflow():
    code = "import sys, attnrobust.task; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_other_place_decides_who_is_right():
    root = Path(task.__file__).parents[1]
    decides = re.compile(r"argmax\([^)]*\)\)?\s*[!=]=")
    elsewhere = [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*.py"))
        if path.parent.name != "task" and decides.search(path.read_text())
    ]
    assert not elsewhere
    assert decides.search((root / "task" / "graph.py").read_text()), "it finds what it looks for"
