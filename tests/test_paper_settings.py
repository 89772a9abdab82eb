"""Experiments train as their papers say: augmentation, dropout, and epsilon for an image's size."""

from __future__ import annotations

import runpy
import sys

import pytest

import experiments
from attnrobust.data import writing
from attnrobust.models.backbones import BACKBONES
from attnrobust.training import optimizers

WU = ("wu_flip", "wu_scale", "wu_shift", "wu_rotate", "wu_shear", "wu_brightness", "wu_contrast")
# Saved with their corruptions: "no other data augmentation is added" (section 4).
CORRUPTED = tuple(
    f"{kind}_{levels}"
    for kind in ("wu_corrupted", "wu_oversampled")
    for levels in ("1", "1_2", "1_3", "1_4")
)
OF_WU = [
    name
    for name in experiments.known()
    if name.startswith(("eyepacs.balance_", "eyepacs.wu_", "eyepacs.grades_"))
]


def of(name: str):
    return experiments.load(name)


@pytest.mark.parametrize("name", OF_WU)
def test_wu_s_networks_see_wu_s_augmentation_or_the_saved_corruptions(name):
    saved = name.removeprefix("eyepacs.") in CORRUPTED
    assert of(name).training.augmentation == (() if saved else WU)


@pytest.mark.parametrize(("name", "dropout"), [("075", 0.75), ("090", 0.9)])
def test_oversampling_with_dropout_is_the_same_network_but_for_the_dropout(name, dropout):
    made, twin = (
        of(f"eyepacs.balance_oversampling_dropout_{name}"),
        of("eyepacs.balance_oversampling"),
    )
    assert (made.model.head, made.model.dropout) == ("gap_dropout", dropout)
    assert twin.model.head == "gap"
    assert (made.data, made.training, made.attack) == (twin.data, twin.training, twin.attack)


@pytest.mark.parametrize("name", [n for n in experiments.known() if "ham10000_balanced." in n])
def test_margeloiu_s_networks_see_its_augmentation(name):
    augmentation = of(name).training.augmentation
    assert augmentation == ("flip", "margeloiu_rotate", "margeloiu_colour")


def test_epsilon_goes_with_the_pixels_unless_the_name_says_by_side():
    large, small, side = (
        of(f"ham10000_balanced.resnet18_{name}")
        for name in ("adversarial", "small_adversarial", "small_adversarial_by_side")
    )
    sizes = [each.data.image_size for each in (large, small, side)]
    assert sizes == [224, 64, 64]
    per_pixel = [each.training.inner_epsilon / each.data.image_size**2 for each in (large, small)]
    # The paper takes 4 for the 50,176 pixels of 224 px.
    assert per_pixel == pytest.approx([4 / 50_000] * 2, rel=4e-3)
    assert large.training.inner_epsilon == 4
    assert small.training.inner_epsilon == pytest.approx(0.32768)
    assert side.training.inner_epsilon == pytest.approx(4 * 64 / 224)
    for each in (small, side):
        assert each.training.inner_epsilon in each.attack.epsilons, (
            "what it is trained for is measured"
        )


def test_the_balanced_subset_is_cropped_to_the_centre_as_in_its_paper(drawn, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(writing, "write", lambda out, *, how, **_: made.append(how))
    words = ["--raw", str(drawn), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["tfrecords.ham10000_balanced", *words])
    monkeypatch.delitem(sys.modules, "tfrecords.ham10000_balanced", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("tfrecords.ham10000_balanced", run_name="__main__")
    assert (ended.value.code, made[0].fit) == (0, "crop")


PASCHALI = [name for name in experiments.known() if ".paschali_" in name]


@pytest.mark.parametrize("name", PASCHALI)
def test_paschali_s_networks_train_as_in_its_section_3(name):
    made = of(name)
    training = made.training
    assert (training.optimizer, training.learning_rate) == ("sgd", 0.01)
    assert optimizers.MOMENTUM == 0.9
    stalled = [1.0] * 6
    assert optimizers.rate(training, 5, stalled[:5]) == 0.01
    assert optimizers.rate(training, 6, stalled) == pytest.approx(0.001), "it decays"
    assert (training.loss, training.class_weights) == ("cross_entropy", "inverse_frequency")
    assert (made.model.head, made.model.dropout) == ("gap_dropout", 0.8)
    affine = {"flip", "rotate", "zoom", "shift", "wu_shear"}
    assert set(training.augmentation) == affine, "no colours"
    assert made.data.image_size == BACKBONES[made.model.backbone].size


def test_paschali_s_three_networks_are_there_for_both_data_sets():
    backbones = [(of(name).data.dataset, of(name).model.backbone) for name in PASCHALI]
    three = ("inception_v3", "inception_v4", "mobilenet")
    assert backbones == [(data, each) for data in ("dermofit", "ham10000") for each in three]
