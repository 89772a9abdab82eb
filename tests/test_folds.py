"""Folds of the train split: who is where, that nothing is torn or lost, and what training sees."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from data_helpers import SIZE, make_raw, read_table, stored, write_records, write_table
from tensorflow import keras

from attnrobust import config
from attnrobust.data import folds, inputs, records
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.stages.context import Context
from attnrobust.training import fit
from attnrobust.training.methods import METHODS

DATA = config.Data(dataset="ham10000", image_size=SIZE)
PLAIN = config.Training(batch_size=4, augmentation=())
TASKS = {"cancer": records.Task(classes=("no", "yes"), of=(1, 1, 0, 0, 1, 0, 0))}
NUMBER = 3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    """63 pictures of 56 lesions, in shards of four; about 39 lesions in the train split."""
    raw = make_raw(tmp_path_factory.mktemp("raw") / "ham10000", lesions=8)
    return write_records(raw, tmp_path_factory.mktemp("records") / "ham10000", tasks=TASKS)


@pytest.fixture(scope="module")
def parts(dataset: records.Dataset) -> list[records.Dataset]:
    """Every fold."""
    return [folds.as_fold(dataset, NUMBER, fold) for fold in range(NUMBER)]


def ids(dataset: records.Dataset, split: str, data: config.Data = DATA) -> list[str]:
    batches = inputs.evaluation_batches(dataset, split, data=data, batch_size=16)
    return [id_.decode() for batch in batches for id_ in batch["id"].numpy()]


def test_groups_are_dealt_label_by_label_in_the_order_of_their_hash() -> None:
    # `printf fold:a | sha256sum` and so on: e 33ac, c 33f5, b 3e5c, a 3f70, d 4ced; q 9588, p a7e3,
    # r ed5c. Group c has an example of label 1, but two of label 0.
    groups = ["a", "b", "c", "c", "c", "d", "e", "q", "r", "p", "p"]
    labels = [0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1]
    expected = {"e": 0, "c": 1, "b": 2, "a": 0, "d": 1, "q": 2, "p": 0, "r": 1}
    assert folds.assign(labels, groups, 3) == expected
    assert folds.assign(labels[::-1], groups[::-1], 3) == expected
    labels[-1] = 0  # p has one of each now: it counts for the first, and its hash comes after d's
    assert folds.assign(labels, groups, 3) == {**expected, "p": 2, "q": 0, "r": 1}


@pytest.mark.parametrize("number", [2, 3, 5])
def test_folds_differ_by_one_group_at_most_of_each_label_and_in_all(number: int) -> None:
    groups = [f"g{n}" for n in range(47)]
    labels = [n % 4 for n in range(47)]
    fold_of = folds.assign(labels, groups, number)
    for label in (*range(4), None):
        chosen = [g for g, each in zip(groups, labels, strict=True) if label in (None, each)]
        sizes = Counter(fold_of[group] for group in chosen)
        assert len(sizes) == number
        assert max(sizes.values()) - min(sizes.values()) <= 1


def test_every_example_is_in_one_fold_and_no_group_in_two(
    dataset: records.Dataset, parts: list[records.Dataset]
) -> None:
    group_of = {id_: each["group"] for id_, each in stored(dataset, "train").items()}
    assert len(group_of) > len(set(group_of.values())), "some lesions were photographed twice"
    held_out = [ids(part, "validation") for part in parts]
    every = [id_ for fold in held_out for id_ in fold]
    assert sorted(every) == sorted(group_of), "each once"
    groups = [{group_of[id_] for id_ in fold} for fold in held_out]
    assert sum(map(len, groups)) == len(set.union(*groups)), "none in two"
    order = ids(dataset, "train")
    for part, fold in zip(parts, held_out, strict=True):
        assert ids(part, "train") == [id_ for id_ in order if id_ not in fold], "record order"
        assert fold == [id_ for id_ in order if id_ in fold]
        assert ids(part, "test") == ids(dataset, "test")
    assert not {*every} & {*ids(dataset, "validation")}, "that split is not used"


def test_counts_are_those_of_the_members(
    dataset: records.Dataset, parts: list[records.Dataset]
) -> None:
    label_of = {id_: each["label"] for id_, each in stored(dataset, "train").items()}
    for part in parts:
        for split in ("train", "validation"):
            labels = [label_of[id_] for id_ in ids(part, split)]
            assert part.count(split) == len(labels)
            np.testing.assert_array_equal(inputs.labels(part, split), labels)
            assert part.splits[split]["class_counts"] == {
                name: labels.count(number) for number, name in enumerate(dataset.classes)
            }
        assert part.splits["test"] == dataset.splits["test"]
        steps = inputs.steps(part, DATA, PLAIN)
        assert steps == math.ceil(part.count("train") / 4) < inputs.steps(dataset, DATA, PLAIN)
    assert len({dataset.hash, *(part.hash for part in parts)}) == 1 + NUMBER
    assert folds.as_fold(dataset, NUMBER, 1) == parts[1], "the same whenever asked"
    assert folds.as_fold(dataset, NUMBER + 1, 1).hash != parts[1].hash


def test_training_sees_its_members_and_nothing_else(parts: list[records.Dataset]) -> None:
    """Every picture is another one, so its pixels tell which it is; two epochs, in full."""
    part = parts[1]
    name_of = {
        image.tobytes(): id_
        for batch in inputs.evaluation_batches(parts[0], "train", data=DATA, batch_size=16)
        .concatenate(inputs.evaluation_batches(parts[0], "validation", data=DATA, batch_size=16))
        .as_numpy_iterator()
        for image, id_ in zip(batch["image"], batch["id"], strict=True)
    }
    for epoch in (0, 1):
        batches = inputs.training_batches(part, data=DATA, training=PLAIN, seed=0, epoch=epoch)
        seen = Counter(
            name_of[image.tobytes()].decode()
            for images, _ in batches.as_numpy_iterator()
            for image in images
        )
        assert sorted(seen) == sorted(ids(part, "train"))
        # A full last batch: as many as that shows of the first ones come twice.
        assert seen.total() == 4 * inputs.steps(part, DATA, PLAIN)


def test_a_limit_counts_members(parts: list[records.Dataset]) -> None:
    data = dataclasses.replace(DATA, limit=7)
    for split in ("train", "validation"):
        assert inputs.count(parts[2], split, 7) == 7
        assert ids(parts[2], split, data) == ids(parts[2], split)[:7]
        assert len(inputs.labels(parts[2], split, 7)) == 7


def test_an_example_of_another_fold_is_not_in_the_split(parts: list[records.Dataset]) -> None:
    mine, other = ids(parts[0], "validation"), ids(parts[1], "validation")
    found = inputs.read(parts[0], "validation", mine[:2], data=DATA)
    assert list(found["id"]) == mine[:2]
    with pytest.raises(UserError, match=f"no {other[0]} in the validation split"):
        inputs.read(parts[0], "validation", [other[0]], data=DATA)


def test_a_task_has_the_same_folds_whichever_comes_first(
    dataset: records.Dataset, parts: list[records.Dataset]
) -> None:
    first = folds.as_fold(dataset.as_task("cancer"), NUMBER, 1)
    second = parts[1].as_task("cancer")
    assert first.members == second.members == parts[1].members
    assert first.splits == second.splits
    for part in (first, second):
        for split in ("train", "validation"):
            labels = inputs.labels(part, split)
            own = inputs.labels(parts[1], split)
            np.testing.assert_array_equal(labels, np.array(TASKS["cancer"].of)[own])
            assert part.splits[split]["class_counts"] == {
                "no": int((labels == 0).sum()),
                "yes": int((labels == 1).sum()),
            }


def test_class_weights_and_validation_are_those_of_the_fold(parts: list[records.Dataset]) -> None:
    experiment = config.Experiment(name="x", data=DATA, training=PLAIN)
    counts = parts[0].splits["train"]["class_counts"]
    total = sum(counts.values())
    np.testing.assert_allclose(
        fit.class_weights(parts[0], experiment),
        [total / (7 * count) for count in counts.values()],
        rtol=1e-6,
    )
    network = keras.Sequential(
        [keras.layers.Flatten(input_shape=(SIZE, SIZE, 3)), keras.layers.Dense(7)]
    )
    setting = config.Training(batch_size=4, method="adversarial", validation_share=0.5)
    experiment = dataclasses.replace(experiment, training=setting)
    model = METHODS["adversarial"].make(network, setting)
    seen = [len(batch[1]) for batch in fit.validation_batches(model, experiment, parts[0])]
    held_out = parts[0].count("validation")
    assert abs(sum(seen) - held_out / 2) <= 1


def test_a_class_missing_in_a_part_is_an_error_that_names_it(tmp_path: Path) -> None:
    """One lesion a class, all in the train split: dealt to folds 0, 1, 0, 1 and so on."""
    raw = make_raw(tmp_path / "raw", lesions=1)
    dataset = write_records(raw, tmp_path / "one")
    assert dataset.count("train") == 14
    with pytest.raises(UserError, match="no akiec in the train part of fold 0 of 2"):
        folds.as_fold(dataset, 2, 0)
    with pytest.raises(UserError, match=r"no bcc in the train part of fold 1 of 2.*fewer"):
        folds.as_fold(dataset, 2, 1)
    # A class that the train split has not at all is no fold's fault.
    write_table(raw, [row for row in read_table(raw) if row["dx"] != "akiec"])
    with pytest.raises(UserError, match="no bcc in the validation part of fold 7 of 8"):
        folds.as_fold(write_records(raw, tmp_path / "fewer"), 8, 7)


def test_a_damaged_shard_is_named(dataset: records.Dataset, tmp_path: Path) -> None:
    broken = dataclasses.replace(dataset, root=tmp_path)
    for split in dataset.splits:
        for file in map(Path, dataset.files(split)):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    file = Path(broken.files("train")[1])
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(UserError, match=rf"{file.name}: damaged"):
        folds.as_fold(broken, NUMBER, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 1}, "data.folds = 1: expected 0 or at least 2"),
        ({"folds": -1}, "data.folds = -1: expected 0 or at least 2"),
        ({"fold": 1}, "data.fold = 1: expected 0 to 0, data.folds being 0"),
        ({"folds": 5, "fold": 5}, "data.fold = 5: expected 0 to 4, data.folds being 5"),
        ({"folds": 5, "fold": -1}, "data.fold = -1: expected 0 to 4"),
    ],
)
def test_folds_out_of_range_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(DATA, **values)


def test_a_walk_takes_its_fold(
    dataset: records.Dataset, parts: list[records.Dataset], tmp_path: Path
) -> None:
    experiment = config.Experiment(name="x", data=DATA)
    assert Context(Run.of(experiment, tmp_path), dataset.root).dataset() == dataset
    chosen = config.with_settings(experiment, ["data.folds=3", "data.fold=2"])
    assert Context(Run.of(chosen, tmp_path), dataset.root).dataset() == parts[2]
    chosen = config.with_settings(chosen, ["data.task=cancer"])
    found = Context(Run.of(chosen, tmp_path), dataset.root).dataset()
    assert (found.classes, found.members) == (("no", "yes"), parts[2].members)
