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
from attnrobust.disk import runs, schemas
from attnrobust.errors import UserError
from attnrobust.task import TASKS, graph, overlap

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
    with pytest.raises(ValueError, match="logits of 5 axes"):
        task.right(np.zeros((2, 3, 4, 4, 2)), np.zeros(2))


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


# Label and prediction of 2 x 4 pixels; of class 1 two pixels each, one in common: 2 * 1 / 4. Of
# class 2 one pixel, found with another: 2 * 1 / 3. Class 3 is found where there is none.
TRUE = np.array([[[1, 1, 0, 0], [2, 0, 0, 0]]], np.uint8)
FOUND = np.array([[[1, 0, 1, 0], [2, 2, 0, 3]]], np.uint8)


def maps(rng: np.random.Generator, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of which about as many are right as wrong."""
    labels = rng.integers(3, size=(count, 4, 4))
    noise = rng.normal(size=(count, 4, 4, 3)) * rng.uniform(0, 2, (count, 1, 1, 1))
    return (2 * np.eye(3)[labels] + noise).astype(np.float32), labels


def test_dice_by_hand():
    each = overlap.dice_by_class(FOUND, TRUE, 4)
    # Of the background five pixels, three found, two in common.
    assert each[0] == pytest.approx([2 * 2 / (5 + 3), 2 / 4, 2 / 3, np.nan], nan_ok=True)
    assert overlap.dice(FOUND, TRUE) == pytest.approx([(1 / 2 + 2 / 3) / 2])
    assert task.score(FOUND, TRUE) == overlap.dice(FOUND, TRUE)
    assert not task.right(FOUND, TRUE).any()


def test_a_label_of_background_alone_is_measured_by_it():
    nothing = np.zeros((2, 2, 2), np.uint8)
    found = np.stack([nothing[0], [[0, 1], [0, 0]]])
    assert overlap.dice(found, nothing) == pytest.approx([1, 2 * 3 / (4 + 3)])


def test_dice_is_scikit_learns_f1():
    from sklearn.metrics import f1_score

    logits, labels = maps(np.random.default_rng(1), 20)
    each = overlap.dice_by_class(task.predict(logits), labels, 3)
    for found, true, row in zip(task.predict(logits), labels, each, strict=True):
        other = f1_score(true.ravel(), found.ravel(), labels=[0, 1, 2], average=None)
        assert row == pytest.approx(other)


def test_a_map_that_is_kept_says_what_its_logits_say():
    logits, labels = maps(np.random.default_rng(2))
    kept = task.kept(logits)
    assert list(kept) == ["prediction"]
    assert kept["prediction"].dtype == np.uint8
    np.testing.assert_array_equal(
        task.score(kept["prediction"], labels), task.score(logits, labels)
    )
    assert 0.2 < task.right(logits, labels).mean() < 0.8


def test_numpy_and_graph_agree_on_segmented_images():
    logits, labels = maps(np.random.default_rng(3))
    labels[:10] = 0
    made = graph.of(logits)
    given = tf.constant(logits), tf.constant(labels)
    np.testing.assert_allclose(made.score(*given), task.score(logits, labels), rtol=1e-5)
    wrong = tf.function(made.wrong)(*given).numpy()
    np.testing.assert_array_equal(wrong, ~task.right(logits, labels))
    np.testing.assert_array_equal(wrong, made.margin(*given).numpy() > 0)


def test_what_attacks_ascend_is_the_cross_entropy_of_confident_maps_too():
    logits, labels = maps(np.random.default_rng(4), 3)
    made, given = graph.of(logits), (tf.constant(logits), tf.constant(labels))
    np.testing.assert_allclose(made.against(*given), made.loss(*given), rtol=1e-4)
    sure = tf.constant([[[[60.0, 0.0]]]])
    with tf.GradientTape() as tape:
        tape.watch(sure)
        each = made.against(sure, tf.constant([[[0]]]))
    assert (tape.gradient(each, sure).numpy() != 0).all()


def test_a_map_is_taken_for_a_class_where_it_is_that_all_over():
    found = np.array([[[0, 0], [0, 0]], [[0, 1], [0, 0]]], np.uint8)
    labels = np.array([[[1, 1], [0, 0]], [[0, 1], [0, 0]]], np.uint8)
    reached = TASKS["segment"].reached(found, labels, 0)
    np.testing.assert_array_equal(reached, [task.FALLEN, task.RIGHT])


def test_files_of_segmented_images_have_their_own_kind(tmp_path):
    place = tmp_path / "clean.npz"
    rows = {"id": np.array(["a"]), "label": TRUE, "prediction": FOUND}
    runs.save_npz(place, **rows)
    found = schemas.load_npz(place, schemas.PREDICTED)
    assert task.of_file(found) is TASKS["segment"]
    np.testing.assert_array_equal(task.right_in(found), [False])
    runs.save_npz(place, **{**rows, "prediction": FOUND[:, :1]})
    with pytest.raises(UserError, match=r"prediction: shape .*expected \(1, 2, 4\)"):
        schemas.load_npz(place, schemas.PREDICTED)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_never_right(broken):
    """NumPy's argmax names the NaN itself, which may be the label's; so may infinity be."""
    logits = np.array([[broken, 0.0, 1.0], [2.0, 1.0, broken], [2.0, 1.0, 0.0]], np.float32)
    labels = np.array([0, 0, 0])
    assert task.right(logits, labels).tolist() == [False, False, True]
    assert task.score(logits, labels).tolist() == [0, 0, 1]
    assert graph.wrong(tf.constant(logits), tf.constant(labels)).numpy().tolist() == [1, 1, 0]
