"""Sanity checks: an honest model raises no warning, what makes a model look robust does."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import attack_helpers as helpers
import check_helpers as checking
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import methods, sanity, sweep
from attnrobust.attacks.subject import Subject
from attnrobust.data import inputs, records
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas


@functools.cache
def honest() -> Replicas:
    """A small network that hides nothing."""
    return Replicas(helpers.smooth(3))


@functools.cache
def masked() -> Replicas:
    """The same behind a layer that rounds, through which no gradient comes."""
    return Replicas(checking.rounding(honest().model))


@functools.cache
def sound() -> Subject:
    """The honest model's sweep."""
    return checking.doubted(honest(), surrogate=honest())


@functools.cache
def blind() -> Subject:
    """The sweep of the model without gradients, which stayed where it began."""
    return checking.doubted(
        masked(), "attack.epsilons=0.2", "attack.random_start=false", surrogate=honest()
    )


def _altered(change: Callable[[dict[float, dict[str, np.ndarray]]], None]) -> Subject:
    """The honest model's sweep with other files."""
    subject = checking.doubted(honest())
    subject.files = {epsilon: dict(state) for epsilon, state in subject.files.items()}
    change(subject.files)
    return subject


def _kept_image_moved(files: dict[float, dict[str, np.ndarray]]) -> None:
    files[0.02]["sample_image"] = np.clip(files[0.0]["sample_image"] + 0.03, 0, 1)


def _risen(files: dict[float, dict[str, np.ndarray]]) -> None:
    files[0.1] = files[0.0]


def _fell_nothing(files: dict[float, dict[str, np.ndarray]]) -> None:
    for state in files.values():
        state["logits"] = files[0.0]["logits"]


def _noisy() -> Subject:
    front = lambda x: x + 0.02 * tf.random.normal(tf.shape(x))  # noqa: E731
    return checking.doubted(Replicas(checking.behind(honest().model, front)))


def _too_weak() -> Subject:
    return checking.doubted(
        honest(), "attack.steps=1", "attack.rel_stepsize=0.1", "attack.random_start=false"
    )


def _decoys(logits_of: tf.Tensor) -> tf.Tensor:
    """Logits of brightness: class 1 wins where it rises, five decoys rise, in vain, where it falls.

    Their gradients together outweigh the one that leads over the border.
    """
    bright = tf.reduce_mean(logits_of, axis=(1, 2, 3))[:, None] - 0.5
    decoys = -1.05 - 0.5 * tf.tanh(400 * bright)
    return tf.concat([0 * bright, -1 + 100 * bright, *[decoys] * 5], axis=1)


def _misled() -> Subject:
    image = keras.Input((helpers.SIDE, helpers.SIDE, 3))
    model = keras.Model(image, keras.layers.Lambda(_decoys)(image))
    grey = 0.5 + 0.02 * (helpers.noise(24) - helpers.noise(24).mean(axis=(1, 2, 3), keepdims=True))
    return checking.doubted(
        Replicas(model), "attack.random_start=false", images=grey, labels=np.zeros(24, int)
    )


def _below_a_level() -> Subject:
    """Images of whole grey levels so near the border that a part of a level takes them over it."""
    images = np.round(255 * (0.5 + 0.04 * (helpers.noise(24) - 0.5))).astype(np.float32) / 255
    return checking.doubted(
        Replicas(helpers.linear(2)),
        "attack.epsilons=0.004",
        "attack.random_start=false",
        images=images,
    )


# Of each check, a sweep on which it warns.
FAULTS: dict[str, Callable[[], Subject]] = {
    "bounds": lambda: _altered(_kept_image_moved),
    "clean_agrees": lambda: checking.doubted(honest(), swept=masked()),
    "frozen": _noisy,
    "logits": lambda: checking.doubted(Replicas(checking.then(honest().model, tf.nn.softmax))),
    "gradients": blind,
    "reach": _too_weak,
    "monotone": lambda: _altered(_risen),
    "huge": lambda: checking.doubted(masked()),
    "one_step": _too_weak,
    "converged": _too_weak,
    "noise": blind,
    "black_box": blind,
    "transfer": blind,
    "margin": _misled,
    "probabilities": lambda: _altered(_fell_nothing),
    "rounding": _below_a_level,
}


def test_every_check_is_held_against_a_fault():
    assert FAULTS.keys() == sanity.CHECKS.keys()


@pytest.mark.parametrize("name", sanity.CHECKS)
def test_a_check_passes_on_the_honest_model_and_warns_of_its_fault(name):
    held, said = sanity.CHECKS[name].find(sound())
    assert held is True, said
    held, said = sanity.CHECKS[name].find(FAULTS[name]())
    assert held is False, said


def test_from_a_random_start_the_steps_should_cross_the_whole_ball():
    steps = ("attack.steps=40", "attack.rel_stepsize=1/30")
    assert sanity.reach(checking.doubted(honest(), *steps)) == (
        None,
        "all steps together can go 1.33 ε; from a random start the far side lies up to 2 ε away",
    )
    assert sanity.reach(checking.doubted(honest(), *steps, "attack.random_start=false"))[0]


def test_gradients_that_float32_cannot_follow_count_as_zero():
    for end, said in [
        (lambda z: z * 1e-40, "24 of 24 zero, 0 not finite"),
        (lambda z: tf.sqrt(z - tf.stop_gradient(z)), "0 of 24 zero, 24 not finite"),
    ]:
        subject = checking.doubted(Replicas(checking.then(honest().model, end)))
        assert sanity.gradients(subject) == (False, said)


def test_images_are_measured_not_records_alone(monkeypatch):
    """Kept ones and those of the attack made anew; a record that says too much warns as well."""

    def outside(*basis: object) -> Callable[..., object]:
        return lambda images, labels, ids, epsilon, restart: (images + 0.06, np.ones(len(ids), int))

    def recorded(files: dict[float, dict[str, np.ndarray]]) -> None:
        files[0.02]["linf"] = np.full(24, 0.03)

    def not_a_number(files: dict[float, dict[str, np.ndarray]]) -> None:
        files[0.05]["sample_image"] = np.full_like(files[0.0]["sample_image"], np.nan)

    for change in (recorded, not_a_number):
        assert not sanity.bounds(_altered(change))[0]
    subject = checking.doubted(honest())
    assert sanity.bounds(subject)[0]
    del subject.attacked
    row = dataclasses.replace(methods.ATTACKS["linf_pgd"], make=outside)
    monkeypatch.setitem(methods.ATTACKS, "linf_pgd", row)
    held, said = sanity.bounds(subject)
    assert not held
    assert "0.04 beyond" in said
    np.testing.assert_array_equal(subject.attacked[1], subject.right)


def test_l2_is_asked_by_queries_too():
    """As the transfer check, which sees that it can be felled."""
    subject = checking.doubted(
        masked(),
        "attack.name=l2_pgd",
        "attack.epsilons=0.5",
        "attack.random_start=false",
        surrogate=honest(),
    )
    assert subject.left.sum() == 23
    for name in ("transfer", "black_box"):
        held, said = sanity.CHECKS[name].find(subject)
        assert held is False, said


def _asked(monkeypatch: pytest.MonkeyPatch, check: str, *settings: str) -> dict[str, object]:
    """What a check attacks with; nothing if it has a note."""
    asked: dict[str, object] = {}

    def under(subject: Subject, name: str, **changes: object) -> tuple[np.ndarray, np.ndarray]:
        asked.update(name=name, **changes)
        return subject.images, subject.left

    one = sound()
    monkeypatch.setattr(Subject, "under", under)
    experiment = config.with_settings(one.experiment, [*checking.FEW, *settings])
    examples = {"id": np.array(one.ids), "image": one.images, "label": one.labels}
    sanity.CHECKS[check].find(Subject(experiment, one.replicas, one.files, examples))
    return asked


@pytest.mark.parametrize("name", methods.ATTACKS)
def test_converged_always_does_more_than_the_sweep(name, monkeypatch):
    asked = _asked(monkeypatch, "converged", f"attack.name={name}", "attack.restarts=3")
    if not asked:
        assert name == "jsma", "neither chance nor a setting of how much"
        return
    row = methods.ATTACKS[asked["name"]]
    assert row.norm == methods.ATTACKS[name].norm
    assert row.random or "steps" in row.own
    sweep = config.with_settings(checking.EXPERIMENT, [*checking.FEW, f"attack.name={name}"])
    before = methods.settled(sweep.attack)
    assert (asked["steps"], asked["queries"]) == (20, 2 * before.queries)
    if row.random:
        assert (asked["first"], asked["restarts"], asked["random_start"]) == (3, 6, True)
    if row.stepped:
        assert asked["steps"] * asked["rel_stepsize"] >= 2, "through the whole ball"


@pytest.mark.parametrize("name", methods.ATTACKS)
def test_noise_is_the_strongest_of_the_ball_and_no_start_of_the_sweep(name, monkeypatch):
    asked = _asked(monkeypatch, "noise", f"attack.name={name}", "attack.restarts=3")
    strongest = {"linf": "sign_noise", "l2": "gaussian_noise", "l0": "salt_and_pepper"}
    assert asked.get("name", name) == strongest[methods.ATTACKS[name].norm]
    assert asked.get("first", 9) >= 9, "the sweep drew 0 to 2, more starts 3 to 8"


def test_a_huge_ball_is_entered_from_the_image(monkeypatch):
    """A random start in it is noise, which may fell a model that no gradient leads anywhere."""
    assert _asked(monkeypatch, "huge")["random_start"] is False


def test_a_masked_model_stands_out_in_a_huge_ball_also_where_nearly_all_images_are_of_one_class():
    """A model that always names that class stands, and hides nothing."""
    images = helpers.noise(200)
    given = masked().forward(images).numpy().argmax(axis=1)
    common = np.bincount(given).argmax()
    rows = [*np.flatnonzero(given == common)[:22], *np.flatnonzero(given != common)[:2]]
    images, labels = images[rows], given[rows]
    held, said = sanity.huge(checking.doubted(masked(), images=images, labels=labels))
    assert held is False, said
    assert "majority rate 0.917; on the way to an image of another class 2" in said
    constant = checking.then(honest().model, lambda z: 0 * z + tf.one_hot(int(common), 3))
    subject = checking.doubted(Replicas(constant), images=images, labels=labels)
    assert sanity.huge(subject) == (True, "0.917 left at ε 0.5; majority rate 0.917")


def test_a_huge_ball_is_not_cut_short_by_the_share_of_values_that_jsma_may_change():
    model = helpers.linear(2)
    way = np.sign(model.layers[-1].get_weights()[0] @ [1.0, -1.0]).reshape(1, 6, 6, 3)
    images = 0.5 + 0.4 * np.concatenate([way, -way]).astype(np.float32)
    few = ("attack.name=jsma", "attack.gamma=0.02", "attack.epsilons=1,2")
    subject = checking.doubted(
        helpers.replicas_of(model), *few, images=images, labels=np.array([0, 1])
    )
    assert subject.left.all()
    held, said = sanity.huge(subject)
    assert held, said
    assert "ε 36;" in said, "pixels, not values"


def test_a_sweep_that_aimed_at_a_class_is_not_judged():
    one = sound()
    aimed = config.with_settings(one.experiment, ["attack.target=nv"])
    with pytest.raises(UserError, match=r"attack\.target = nv: check judges attacks that take any"):
        Subject(aimed, one.replicas, one.files, {})


def test_rounding_takes_what_is_below_a_level_from_any_model():
    subject = _below_a_level()
    subject.files[0.001] = subject.files[0.004]
    subject.epsilon = 0.001
    assert sanity.rounding(subject)[0] is None


@pytest.fixture(scope="module")
def trained(tiny, records_folder):
    """An experiment, its records, and two convolutions that learned them."""
    experiment = config.with_settings(
        tiny,
        [
            "attack.epsilons=0.002,0.01,0.05",
            "attack.steps=10",
            "attack.rel_stepsize=0.25",
            "checks.samples=24",
            "checks.draws=2",
            "checks.queries=80",
        ],
    )
    dataset = records.load(records_folder)
    batches = inputs.evaluation_batches(dataset, "train", data=experiment.data, batch_size=16)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((32, 32, 3)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(7),
        ]
    )
    model.compile(
        keras.optimizers.legacy.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    pairs = batches.map(lambda batch: (batch["image"], batch["label"])).cache()
    model.fit(pairs, epochs=20, verbose=0)
    return experiment, dataset, Replicas(model)


@pytest.mark.slow
def test_a_sweep_on_disk_is_doubted_in_sixteen_ways(trained, tmp_path):
    experiment, dataset, replicas = trained
    sweep.Sweep(experiment, dataset, replicas).run(tmp_path)
    subject = Subject.of_sweep(
        experiment, dataset, replicas, tmp_path, ("another", lambda: replicas)
    )
    sanity.check(subject, tmp_path)
    value = runs.load_json(tmp_path / "checks.json")
    assert value["attack"] == "linf_pgd"
    assert value["epsilon"] in experiment.attack.epsilons
    assert value["images"] == 24
    assert [row["name"] for row in value["checks"]] == list(sanity.CHECKS)
    assert {row["name"]: row["said"] for row in value["checks"] if row["status"] == "warn"} == {}
    passed = {row["name"] for row in value["checks"] if row["status"] == "pass"}
    assert passed >= sanity.CHECKS.keys() - {"rounding"}


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_answers_are_compared_in_the_scale_of_the_logits(scale):
    """One model answers by chance and became another one; one is rounded in its seventh digit."""

    def times(factor: Callable[[tf.Tensor], tf.Tensor]) -> Replicas:
        return Replicas(checking.then(honest().model, lambda z: scale * factor(z)))

    plain = times(lambda z: z)
    chance = checking.doubted(times(lambda z: z * (1 + 0.01 * tf.random.normal(tf.shape(z)))))
    assert sanity.frozen(chance)[0] is False
    changed = checking.doubted(plain, swept=times(lambda z: 1.1 * z))
    assert sanity.clean_agrees(changed)[0] is False
    rounded = checking.doubted(plain, swept=times(lambda z: (1 + 1e-5) * z))
    assert sanity.clean_agrees(rounded)[0] is True
    assert sanity.frozen(rounded)[0] is True


def test_where_nothing_more_falls_the_largest_ball_is_searched():
    """In the smallest one nobody finds anything, gradients or not."""
    subject = checking.doubted(
        masked(),
        "attack.epsilons=0.0001,0.001,0.2",
        "attack.random_start=false",
        surrogate=honest(),
    )
    assert len(set(list(subject.shares.values())[1:])) == 1, "a plateau"
    assert subject.epsilon == 0.2
    for name in ("noise", "black_box", "transfer"):
        assert sanity.CHECKS[name].find(subject)[0] is False


def test_a_sigmoid_for_each_class_is_no_logit():
    subject = checking.doubted(Replicas(checking.then(honest().model, tf.sigmoid)))
    assert sanity.logits(subject)[0] is False
