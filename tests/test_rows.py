"""A row of ATTACKS says all that the project knows of an attack: what it can do, its settings."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from attack_helpers import linear, noise, predicted, smooth
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import (
    border,
    carlini_wagner,
    checks,
    descent,
    fab,
    methods,
    packing,
    passes,
    square,
)
from attnrobust.attacks.methods import ATTACKS
from attnrobust.attacks.pool import Pooled
from attnrobust.attacks.row import Row
from attnrobust.attacks.transfer import in_full
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas
from attnrobust.report import attacks as report_attacks
from attnrobust.report import limits, wording

CLASSES, SMALL = 4, {"steps": 6, "queries": 30, "rel_stepsize": 0.3}
RADII = {"linf": 0.1, "l2": 0.5, "l0": 20.0}
FULL = [name for name, row in ATTACKS.items() if row.in_full]


@pytest.fixture(scope="module")
def replicas():
    return Replicas(smooth(CLASSES))


@pytest.fixture(scope="module")
def images():
    return noise(24)


@pytest.fixture(scope="module")
def labels(replicas, images):
    """Every third one wrong."""
    right = predicted(replicas.model, images)
    return np.where(np.arange(len(images)) % 3 == 1, (right + 1) % CLASSES, right)


def leads(replicas, images, labels):
    """Best wrong logit less the label's."""
    logits = replicas.model(images).numpy().astype(float)
    own = logits[np.arange(len(labels)), labels]
    logits[np.arange(len(labels)), labels] = -np.inf
    return logits.max(axis=1) - own


def made(name, replicas, images, labels, **settings):
    row = ATTACKS[name]
    asked = methods.settled(config.Attack(name, epsilons=(RADII[row.norm],), **settings))
    found, _ = row.make(replicas, asked, 0)(
        tf.constant(images),
        tf.constant(labels),
        [str(i) for i in range(len(images))],
        RADII[row.norm],
        0,
    )
    return np.asarray(found)


@pytest.mark.parametrize("name", FULL)
def test_a_row_in_full_perturbs_all_images_by_all_it_can(name, replicas, images, labels):
    settings = in_full(config.Attack(name, epsilons=(RADII[ATTACKS[name].norm],), **SMALL))
    assert not settings.early_stop
    full = made(name, replicas, images, labels, **SMALL, early_stop=False)
    early = made(name, replicas, images, labels, **SMALL)
    size = checks.norms(full - images)[ATTACKS[name].norm]
    assert (size > 0.2 * RADII[ATTACKS[name].norm]).all(), "also what was wrong from the start"
    assert (size <= RADII[ATTACKS[name].norm] + 1e-5).all()
    strong, weak = (leads(replicas, each, labels) for each in (full, early))
    assert not ((weak > 1e-3) & (strong <= 0)).any(), "no weaker for that"
    if not ATTACKS[name].random or ATTACKS[name].own:
        assert strong.mean() >= weak.mean() - 1e-3
    wrong = leads(replicas, images, labels) > 0
    if name not in ("uniform_noise", "sign_noise", "gaussian_noise"):
        assert strong[wrong].mean() > leads(replicas, images, labels)[wrong].mean()


@pytest.mark.parametrize("name", ["apgd_ce", "apgd_t", "autoattack", "square", "square_l2"])
def test_in_full_fools_a_similar_model_as_pgd_does(name, replicas, images):
    """At the border of one model another one still stands."""
    rng = np.random.default_rng(0)
    other = keras.models.clone_model(replicas.model)
    other.set_weights(
        [
            weight + 0.3 * weight.std() * rng.standard_normal(weight.shape)
            for weight in replicas.model.get_weights()
        ]
    )
    seen = predicted(other, images)

    def left(name, **settings):
        found = made(name, replicas, images, seen, **SMALL, **settings)
        return float((predicted(other, found) == seen).mean())

    mine, pgd, early = (
        left(name, early_stop=False),
        left("linf_pgd", early_stop=False),
        left(name),
    )
    assert mine < early - 0.1
    assert "square" in name or mine <= pgd + 0.05, "30 queries are not many"


def test_square_goes_on_from_its_best_point_alone():
    """Of twelve values the sum decides; a brighter pixel is wrong still, but by less."""
    model = keras.Sequential(
        [keras.layers.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.layers[-1].set_weights([np.repeat([[1.0, -1.0]], 12, axis=0), np.array([0.0, 12.0])])
    origin, best = (tf.fill((1, 2, 2, 3), value) for value in (0.4, 0.3))
    kept, margin, seen = square._proposal(Replicas(model))(
        origin,
        tf.constant([0], tf.int64),
        best,
        tf.constant([2 * 3.6 - 12]),
        tf.constant([[0.0, 0.0, 0.9, 0.9, 0.9]]),
        tf.constant(1),
        tf.constant(0.1),
    )
    assert margin.numpy()[0] == pytest.approx(-4.8, rel=1e-5)
    assert (kept == best).numpy().all()
    assert not seen.wrong.numpy().any(), "nothing new is seen of a point that was best before"


def test_the_pgd_family_is_run_by_the_pool_but_in_full_by_foolbox(replicas):
    asked = methods.settled(config.Attack(**SMALL))
    assert isinstance(descent.linf_pgd(replicas, asked, 0), Pooled)
    whole = in_full(asked)
    assert not isinstance(descent.linf_pgd(replicas, whole, 0), Pooled)


@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - set(FULL)))
def test_a_row_that_stops_at_the_border_is_refused_for_transfer(name):
    epsilons = (RADII[ATTACKS[name].norm],)
    with pytest.raises(UserError, match=f"attack.name = {name}: it stops at the border"):
        in_full(config.Attack(name, epsilons=epsilons))


def test_in_full_keeps_the_point_of_largest_margin_and_stops_for_nothing(replicas, images, labels):
    outcome = packing.Outcome(
        replicas, tf.constant(images), labels, list(map(str, range(24))), full=True
    )
    assert len(outcome.standing) == 24
    pack = outcome.packed()
    for shift, lead in ((0.1, 1.0), (0.2, 3.0), (0.3, 2.0)):
        sure = np.ones(24, bool)
        outcome.judge(pack, tf.constant(images + shift), border.Seen(sure, np.full(24, lead), sure))
    assert pack.live.all()
    adversarials, queries = outcome.result()
    np.testing.assert_allclose(adversarials, images + 0.2, rtol=1e-6)
    assert (queries == 1 + 3).all()


def test_what_is_wrong_by_less_than_the_slack_is_attacked_on_and_kept():
    """Iterates in turn: right, narrowly wrong, right but nearer, wrong by more, clear; one goes."""
    replicas, image = Replicas(smooth(CLASSES)), noise(1)
    outcome = packing.Outcome(
        replicas, tf.constant(image), predicted(replicas.model, image), ["image"]
    )
    pack, found = outcome.packed(), []
    for shift, lead, clear in (
        (1, -1.0, False),
        (2, 1e-6, False),
        (3, -1e-7, False),
        (4, 2e-6, False),
        (5, 1e-6, False),
        (6, 1e-3, True),
    ):
        seen = border.Seen(np.array([lead > 0]), np.array([lead]), np.array([clear]))
        outcome.judge(pack, tf.constant(image + shift), seen)
        found.append((round(float((outcome.adversarials - image).mean())), bool(pack.live[0])))
    assert found == [(1, True), (2, True), (2, True), (4, True), (4, True), (6, False)]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("linf_pgd", {"steps": 40, "rel_stepsize": 1 / 30}),
        ("l2_pgd", {"steps": 40}),
        ("bim", {"steps": 40}),
        ("mi_fgsm", {"steps": 40}),
        ("apgd_ce", {"steps": 100}),
        ("apgd_t", {"steps": 100}),
        ("fab_t", {"steps": 100}),
        ("autoattack", {"steps": 100, "queries": 5000}),
        ("square", {"queries": 5000}),
        ("deepfool_linf", {"steps": 50}),
        ("deepfool_l2", {"steps": 50}),
        ("cw", {"steps": 10_000}),
        ("ddn", {"steps": 100}),
        ("jsma", {"theta": 1.0, "gamma": 0.145, "saliency": "logits", "aims": "every"}),
    ],
)
def test_what_the_experiment_leaves_open_is_as_published(name, own):
    made = methods.settled(config.Attack(name))
    assert {key: getattr(made, key) for key in own} == own
    assert not methods.departures(made)
    assert not methods.departures(config.Attack(name))
    asked = methods.settled(config.Attack(name, steps=7, queries=9))
    assert (asked.steps, asked.queries) == (7, 9)


def test_every_number_is_settled_whether_the_row_reads_it_or_not():
    for name in ATTACKS:
        made = methods.settled(config.Attack(name))
        assert min(made.steps, made.queries) >= 1
        assert made.rel_stepsize > 0
        assert methods.settled(made) == made


def test_settings_of_one_row_are_not_those_of_another():
    mine = methods.settled(config.Attack("linf_pgd", steps=10, loss="margin"))
    other = methods.of_another(mine, "apgd_ce", restarts=2)
    assert (other.name, other.steps, other.restarts, other.loss) == ("apgd_ce", 100, 2, "margin")
    assert methods.of_another(mine, "linf_pgd", steps=20).steps == 20
    assert methods.of_another(mine, "linf_pgd").steps == 10


def test_the_reach_of_steps_in_the_largest_ball():
    def reach(**settings):
        return methods.reach(config.Attack(**settings))

    assert reach() == pytest.approx(40 / 30)
    assert reach(epsilons=(0.0004,), steps=7, rel_stepsize=1 / 7) == 1
    assert reach(epsilons=(0.0004,), steps=10) == pytest.approx(1 / 3)
    assert reach(steps=5, abs_stepsize=0.001, epsilons=(0.001, 0.02)) == pytest.approx(0.25)
    assert reach(name="bim", steps=5, rel_stepsize=0.1) == pytest.approx(0.5)
    for name in ("fgsm", "apgd_ce", "no longer in the table"):
        assert reach(name=name, steps=1) == np.inf


def test_settings_that_differ_from_the_published_ones_are_said():
    assert methods.departures(config.Attack("apgd_ce", steps=40)) == ["steps 40 (published: 100)"]
    assert methods.departures(config.Attack("cw", steps=50)) == ["steps 50 (published: 10,000)"]
    assert methods.departures(config.Attack("jsma", theta=0.3, saliency="probabilities")) == [
        "theta 0.3 (published: 1)",
        "saliency probabilities (published: logits)",
    ]
    assert methods.departures(config.Attack("linf_pgd", steps=5)) == ["steps 5 (Foolbox's own: 40)"]
    assert methods.departures(config.Attack("apgd_ce", rel_stepsize=0.5)) == [], "not read"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "no attack.loss 'hinge'"),
        (
            {"first_passes": ("one_stop",)},
            "no attack.first_passes 'one_stop'; did you mean one_step",
        ),
        ({"name": "linf_pdg"}, "no attack.name 'linf_pdg'; did you mean linf_pgd"),
        ({"name": "jsma", "saliency": "logit"}, "attack.saliency = logit: expected logits or prob"),
        (
            {"name": "jsma", "aims": "all"},
            "attack.aims = all: expected every or likeliest for jsma",
        ),
    ],
)
def test_what_no_row_knows_is_refused_before_there_is_a_model(settings, message):
    with pytest.raises(UserError, match=message):
        checks.settings(config.Attack(**settings))


def test_the_table_is_read_without_tensorflow():
    code = (
        "import sys; from attnrobust.attacks.methods import ATTACKS; "
        "from attnrobust.report import attacks, limits; assert len(ATTACKS) > 20; "
        "assert not {'tensorflow', 'foolbox'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@dataclasses.dataclass
class Shown:
    """What the report's wording reads of a result."""

    attack: str
    setting: config.Attack
    group: tuple[str, str] = ("demo", "net")
    asked_scale: float = 1.0


@pytest.fixture
def brighten(monkeypatch):
    """A new attack is one row: here of steps, with a start that may be random."""

    def make(replicas, setting, seed):
        assert (setting.steps, setting.rel_stepsize) != (None, None)

        def attack(images, labels, ids, epsilon, restart):
            moved = setting.steps * setting.rel_stepsize * epsilon * (-1) ** restart
            change = np.clip(moved, -epsilon, epsilon)
            return np.clip(np.asarray(images) + np.float32(change), 0, 1), np.ones(len(ids), int)

        return attack

    row = Row(
        make,
        passes.stepped,
        starts=True,
        own={"steps": 9, "rel_stepsize": 0.5, "aims": "up"},
        source="invented",
        choices={"aims": ("up", "down")},
        role="brightness",
    )
    monkeypatch.setitem(ATTACKS, "brighten", row)
    return row


def test_a_new_row_is_known_to_configuration_and_report(brighten):
    setting = config.Attack("brighten", steps=4, epsilons=(0.1,))
    checks.settings(setting)
    assert in_full(setting).steps == 4
    assert methods.reach(setting) == 2
    assert methods.in_role("brightness", "linf") == "brighten"
    with pytest.raises(UserError, match=r"attack\.aims = left: expected up or down for brighten"):
        checks.settings(config.Attack("brighten", aims="left"))
    with pytest.raises(UserError, match="brighten cannot aim at a class"):
        methods.target_of(config.Attack("brighten", target="nv"), ["nv"])
    (words,) = limits.attacks([Shown("brighten", setting)])
    assert words.startswith("brighten with 4 steps of 0.5 ε each and 1 start at random")
    assert report_attacks._other([Shown("mine", setting)]) == (
        " Other settings than usual: mine: steps 4 (invented: 9)."
    )
    (weak,) = wording._too_weak([Shown("brighten", config.Attack("brighten", steps=1))])
    assert "its 1 steps reach 0.50 of the ball" in weak


def spent(name, replicas, images, labels, **settings):
    """Queries of an attack, and what its row says."""
    row = ATTACKS[name]
    asked = methods.settled(config.Attack(name, epsilons=(RADII[row.norm],), **settings))
    radius = RADII[row.norm] if row.kind == "fixed" else np.inf
    _, queries = row.make(replicas, asked, 0)(
        tf.constant(images), tf.constant(labels), [str(i) for i in range(len(images))], radius, 0
    )
    said = row.passes(asked, CLASSES, images.shape[1] * images.shape[2])
    return np.asarray(queries), said.forward + said.gradient


@pytest.fixture(scope="module")
def stubborn():
    """Of class 0 whatever is done to an image, and with gradients all the same."""
    model = linear(CLASSES)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias + 1e3 * np.eye(CLASSES)[0]])
    return Replicas(model)


@pytest.mark.parametrize("name", FULL)
def test_a_row_says_the_passes_that_are_counted(name, replicas, stubborn, images, labels):
    of = stubborn if name == "autoattack" else replicas  # FAB in it ends at an image's fall
    truth = np.zeros(len(images), int) if of is stubborn else labels
    queries, said = spent(name, of, images, truth, **SMALL, early_stop=False)
    assert set(queries) == {said}
    queries, said = spent(name, replicas, images, labels, **SMALL)
    assert (queries <= said).all()


# Passes that are only made where something is found.
UNLESS_FOUND = {"fab_t": passes.FAB_SEARCH}


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in FULL])
def test_the_others_make_no_more_passes_than_their_row_says(name, replicas, stubborn, images):
    asked = {"steps": 6, "queries": 100}
    queries, said = spent(name, replicas, images, predicted(replicas.model, images), **asked)
    assert (queries <= said).all()
    first = np.zeros(len(images), int)
    queries, said = spent(name, stubborn, images, first, **asked)
    assert (queries <= said).all()
    # No start; no pair of values that helps; a weight that brings nothing.
    given_up = ("boundary", "hopskipjump", "jsma", "cw")
    if name not in given_up:
        assert set(queries) == {said - UNLESS_FOUND.get(name, 0)}


def test_numbers_that_passes_repeats():
    assert passes.DRAWN_IN == border.HALVINGS + 3
    assert passes.FAB_SEARCH == fab.SEARCH + 3
    assert passes.CW_WEIGHTS == carlini_wagner.WEIGHTS
    foolbox_cw = foolbox.attacks.L2CarliniWagnerAttack()
    assert foolbox_cw.binary_search_steps == passes.CW_WEIGHTS
    assert packing.targets(np.zeros((1, 30)), np.zeros(1, int)).shape[1] == passes.MOST_TARGETS
