"""Even classes: shares, order, resume; SMOTE's mixtures and its memory."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from imblearn.over_sampling import SMOTE
from training_helpers import resumed_as_whole

from attnrobust import config
from attnrobust.data import inputs, records, sampling
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.training import balance, fit, phases, strategy

SIZE = 32
DATA = config.Data(dataset="demo", image_size=SIZE)
GROUPS = {"nv": 0, "mel": 0, "bkl": 0, "bcc": 1, "akiec": 1, "vasc": 2, "df": 2}


@pytest.fixture(scope="module")
def dataset(records_folder: Path) -> records.Dataset:
    """Drawn lesions in three classes, of which the first is the commonest by far."""
    found = records.load(records_folder)
    task = records.Task(("common", "middle", "rare"), [GROUPS[name] for name in found.classes])
    return dataclasses.replace(found, tasks={"three": task}).as_task("three")


def training(kind: str, **values) -> config.Training:
    return config.Training(
        **{"sampling": kind, "class_weights": "none", "batch_size": 1, "augmentation": (), **values}
    )


def epoch(
    dataset: records.Dataset, setting: config.Training, number: int = 0, seed: int = 0, made=None
) -> list[tuple[bytes, int]]:
    """Images, as bytes, and labels of an epoch."""
    batches = inputs.training_batches(
        dataset, data=DATA, training=setting, seed=seed, epoch=number, made=made
    )
    return [
        (image.tobytes(), int(label))
        for images, labels in batches.as_numpy_iterator()
        for image, label in zip(images, labels, strict=True)
    ]


def test_every_class_comes_as_often_as_the_commonest(dataset: records.Dataset) -> None:
    counts, setting = inputs.class_counts(dataset), training("oversample")
    assert counts.max() > 2 * counts.min()
    drawn = epoch(dataset, setting)
    assert len(drawn) == inputs.steps(dataset, DATA, setting) == 3 * counts.max()
    assert Counter(label for _, label in drawn) == dict.fromkeys(range(3), counts.max())
    for class_, count in enumerate(counts):
        copies = Counter(image for image, label in drawn if label == class_)
        assert len(copies) == count, "every image is there"
        assert max(copies.values()) - min(copies.values()) <= 1, "none much oftener than another"
    # In each fifth, too, about a third of each class.
    part = len(drawn) // 5
    for start in range(0, 5 * part, part):
        share = Counter(label for _, label in drawn[start : start + part])
        assert all(abs(share[class_] / part - 1 / 3) < 0.25 for class_ in range(3))


def test_the_order_follows_from_seed_and_epoch(dataset: records.Dataset) -> None:
    setting = training("oversample")
    first = epoch(dataset, setting)
    assert first == epoch(dataset, setting)
    assert first != epoch(dataset, setting, 1)
    assert first != epoch(dataset, setting, seed=1)
    assert Counter(label for _, label in first) == Counter(
        label for _, label in epoch(dataset, setting, 1)
    )


def test_shorter_epochs_are_cut_from_one_pass(dataset: records.Dataset) -> None:
    whole = epoch(dataset, training("oversample"))
    half = training("oversample", epoch_fraction=0.5)
    parts = [epoch(dataset, half, number) for number in range(2)]
    assert abs(len(parts[0]) - len(whole) / 2) <= 0.5
    assert [*parts[0], *parts[1]][: len(whole)] == whole


def test_full_batches_are_topped_up_and_may_lack_a_class(dataset: records.Dataset) -> None:
    setting = training("oversample", batch_size=2)
    batches = inputs.training_batches(dataset, data=DATA, training=setting, seed=0, epoch=0)
    sizes = {len(labels) for _, labels in batches.as_numpy_iterator()}
    assert sizes == {2}


def test_copies_of_an_image_are_corrupted_each_by_itself(dataset: records.Dataset) -> None:
    setting = training("oversample", corruptions=("gaussian_noise",))
    found = Counter(image for image, _ in epoch(dataset, setting))
    clean = {image for image, _ in epoch(dataset, training("oversample"))}
    assert {number for image, number in found.items() if image not in clean} == {1}


def test_a_class_without_examples_is_refused(dataset: records.Dataset, tiny) -> None:
    settings = ["training.class_weights=none", "training.sampling=oversample", "data.limit=1"]
    experiment = config.with_settings(tiny, settings)
    with pytest.raises(
        UserError,
        match=r"training\.sampling = oversample: expected at least 1 .*"
        r"too few of .* \(0\)",
    ):
        balance.synthetic(dataset, experiment)
    with pytest.raises(UserError, match=r"smote: expected at least 2 .* of b \(1\)$"):
        sampling.require(np.array([5, 1]), ("a", "b"), "smote")
    sampling.require(np.array([5, 0]), ("a", "b"), "none")


def test_an_unknown_way_of_drawing_is_refused_with_the_known_ones(dataset) -> None:
    chosen = training("oversampel")
    for ask in (inputs.steps, inputs.total):
        with pytest.raises(
            UserError,
            match=r"no training\.sampling 'oversampel'; did you mean "
            r"oversample\?",
        ):
            ask(dataset, DATA, chosen)


@pytest.fixture(scope="module")
def images(dataset: records.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Training images, float32, and labels in record order."""
    batches = list(
        inputs.evaluation_batches(dataset, "train", data=DATA, batch_size=16).as_numpy_iterator()
    )
    return (
        np.concatenate([batch["image"] for batch in batches]),
        np.concatenate([batch["label"] for batch in batches]),
    )


def made(dataset: records.Dataset, tiny: config.Experiment, *settings: str) -> tf.data.Dataset:
    experiment = config.with_settings(
        tiny, ["training.class_weights=none", "training.sampling=smote", *settings]
    )
    found = balance.synthetic(dataset, experiment)
    assert found is not None
    return found


def test_smote_is_imbalanced_learns_and_fills_up_every_class(dataset, images, tiny) -> None:
    pixels, labels = images
    found, _ = SMOTE(random_state=0).fit_resample(pixels.reshape(len(labels), -1), labels)
    expected = {np.round(255 * row).astype(np.uint8).tobytes() for row in found[len(labels) :]}
    own = {image.tobytes() for image in pixels}
    setting = training("smote")
    drawn = epoch(dataset, setting, made=made(dataset, tiny))
    most = inputs.class_counts(dataset).max()
    assert len(drawn) == inputs.steps(dataset, DATA, setting) == 3 * most
    assert Counter(label for _, label in drawn) == dict.fromkeys(range(3), most)
    assert own <= {image for image, _ in drawn}, "every photograph is there once"
    others = [(image, label) for image, label in drawn if image not in own]
    assert len(others) == 3 * most - len(labels)
    eight_bits = {
        np.round(255 * np.frombuffer(image, np.float32)).astype(np.uint8).tobytes()
        for image, _ in others
    }
    assert eight_bits == expected
    for image, label in others:
        low, high = (end(pixels[labels == label], axis=0) for end in (np.min, np.max))
        mixed = np.frombuffer(image, np.float32).reshape(low.shape)
        assert (low - 1 / 255 <= mixed).all()
        assert (mixed <= high + 1 / 255).all()
    assert drawn == epoch(dataset, setting, made=made(dataset, tiny)), "the same after a resume"


def test_smote_is_not_forgotten(dataset: records.Dataset) -> None:
    with pytest.raises(ValueError, match="without the examples it makes"):
        epoch(dataset, training("smote"))


def test_smote_takes_fewer_neighbours_of_a_small_class(caplog) -> None:
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.random((8, 8, 8, 3), dtype=np.float32),
        "label": np.array([0] * 5 + [1] * 3),
    }
    batches = tf.data.Dataset.from_tensors(batch)
    found = sampling.smote(batches, np.array([5, 3]), [4, 7], size=8, seed=0, free=None)
    examples = [tf.train.Example.FromString(each) for each in found.as_numpy_iterator()]
    assert [each.features.feature["label"].int64_list.value[0] for each in examples] == [7, 7]
    assert "SMOTE takes 2 neighbours instead of 5" in caplog.text
    assert "SMOTE on 8 images of 8 px: 0.00 GB of memory" in caplog.text


def test_smote_without_room_is_refused_before_it_starts(dataset) -> None:
    def untouched():
        raise AssertionError("an image was read")
        yield

    batches = tf.data.Dataset.from_generator(untouched, output_signature=tf.TensorSpec([]))
    with pytest.raises(
        UserError,
        match=r"^training\.sampling = smote: SMOTE on 1,100 images of "
        r"512 px: .* GB of memory, 1\.00 GB are free; expected a sm",
    ):
        sampling.smote(batches, np.array([1000, 100]), [0, 1], size=512, seed=0, free=10**9)


@pytest.mark.parametrize("numbers", [(150, 40, 10), (180, 20)])
def test_the_memory_that_is_stated_is_what_smote_takes(numbers: tuple[int, ...]) -> None:
    rng, counts = np.random.default_rng(0), np.array(numbers)
    images = rng.random((200, 32, 32, 3), dtype=np.float32)
    batches = tf.data.Dataset.from_tensor_slices(
        {"image": images, "label": np.repeat(np.arange(len(counts)), counts)}
    ).batch(50)
    tracemalloc.start()
    sampling.smote(batches, counts, range(len(counts)), size=32, seed=0, free=None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stated = sampling.memory(counts, 32)
    assert 0.8 * stated < peak < 1.2 * stated


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "spread"),
    [
        pytest.param("oversample", strategy.mirrored, marks=pytest.mark.slow),
        ("oversample", tf.distribute.get_strategy),
        ("smote", tf.distribute.get_strategy),
    ],
)
def test_a_resume_goes_on_as_if_nothing_had_happened(
    kind, spread, small, dataset, tmp_path
) -> None:
    changed = (
        ["corruptions=gaussian_noise", "augmentation=flip"]
        if kind == "smote"
        else ["augmentation="]
    )
    experiment = config.with_settings(
        small,
        [
            f"training.{each}"
            for each in (
                "class_weights=none",
                f"sampling={kind}",
                "epoch_fraction=0.5",
                "epochs=2",
                "loss=focal",
                *changed,
            )
        ],
    )
    resumed_as_whole(experiment, dataset, tmp_path, spread(), compiled=spread is strategy.mirrored)


@pytest.mark.slow
def test_a_run_starts_from_another_of_the_same_seed(
    small, dataset, tmp_path, monkeypatch, caplog
) -> None:
    short = config.with_settings(small, ["training.epochs=1", "name=first", "seed=3"])
    first = runs.Run.of(short, tmp_path)
    again = config.with_settings(short, ["training.start=first", "name=second"])
    second = runs.Run.of(again, tmp_path)
    with pytest.raises(
        UserError,
        match=r"^training\.start = first: no run .*seed-3; .*trained "
        r"one: python -m attnrobust run demo\.first train --seed 3",
    ):
        fit.train(again, dataset, second.path("train"), tf.distribute.get_strategy())
    one = tf.distribute.get_strategy()
    with first.stage("train", used={"training": {}}, inputs=dataset.hash) as folder:
        assert folder is not None
        model = fit.train(short, dataset, folder, one)
        with pytest.raises(UserError, match="run 'train' first"):
            fit.train(again, dataset, second.path("train"), one)
    built = []
    real = fit.build.build

    def noted(*args, **kwargs):
        network = real(*args, **kwargs)
        built.append(network.get_weights())
        return network

    monkeypatch.setattr(fit.build, "build", noted)
    fit.train(again, dataset, second.path("train"), one)
    for before, after in zip(model.get_weights(), built[0], strict=True):
        np.testing.assert_array_equal(before, after)
    assert f"starting from {first.path('train', 'weights.h5')}" in caplog.text
    assert "other records" not in caplog.text
    other = dataclasses.replace(dataset, hash="another")
    phases.start(again, other, second.path("train"))
    assert f"{first.root} was trained on other records; test images may" in caplog.text
