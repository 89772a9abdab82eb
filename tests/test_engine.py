"""The compiled engine against stock Foolbox, the judge."""

from __future__ import annotations

import dataclasses
import functools

import attack_helpers as helpers
import eagerpy as ep
import foolbox
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, keyed
from attnrobust.attacks import cheap, descent, engine, losses
from attnrobust.attacks.checks import norms
from attnrobust.attacks.methods import ATTACKS
from attnrobust.attacks.pool import Item
from attnrobust.errors import UserError
from attnrobust.models.build import build
from attnrobust.models.replicas import Replicas
from attnrobust.training import strategy

EPSILON, STEPS, REL = 0.003, 8, 0.2


def small_model(dtype: str = "float32") -> keras.Model:
    """Smooth (softplus), so that gradients have no kinks."""
    keras.utils.set_random_seed(3)
    spread = keras.initializers.RandomNormal(0, 0.3)
    model = keras.Sequential(
        [
            keras.layers.Input((12, 12, 3), dtype=dtype),
            keras.layers.Conv2D(8, 3, activation="softplus", dtype=dtype),
            keras.layers.Conv2D(8, 3, strides=2, activation="softplus", dtype=dtype),
            keras.layers.Flatten(dtype=dtype),
            keras.layers.Dense(4, kernel_initializer=spread, dtype=dtype),
        ]
    )
    # Noise images lie close together; without their mean logits the classes mix.
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias - model(noise(32, dtype)).numpy().mean(axis=0)])
    return model


@functools.cache
def shared(dtype: str = "float32") -> keras.Model:
    """The same for all tests that leave it alone: what one has compiled another need not."""
    return small_model(dtype)


def noise(number: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(0).random((number, 12, 12, 3)).astype(dtype)


def data(model: keras.Model, number: int, dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    images = noise(number, dtype)
    return tf.constant(images), tf.constant(model(images).numpy().argmax(1))


def setting(name: str, **changes) -> config.Attack:
    basis = {"epsilons": (EPSILON,), "steps": STEPS, "rel_stepsize": REL, "early_stop": False}
    return config.Attack(name=name, **{**basis, **changes})


def radius(name: str) -> float:
    return EPSILON * (15 if ATTACKS[name].norm == "l2" else 1)


def best_other(logits, classes):
    """Plain NumPy-like code: the largest logit of another class."""
    return tf.stack(
        [
            tf.reduce_max(tf.concat([row[:c], row[c + 1 :]], 0))
            for row, c in zip(logits, classes, strict=True)
        ]
    )


def ratio(logits, labels, target):
    order = tf.sort(logits, axis=1, direction="DESCENDING")
    rows = range(len(labels))
    own = tf.stack([logits[i, labels[i]] for i in rows])
    if target is None:
        return (best_other(logits, labels) - own) / (order[:, 0] - order[:, 2])
    # What a targeted attack descends.
    return (own - logits[:, target]) / (order[:, 0] - (order[:, 2] + order[:, 3]) / 2)


class Stock:
    """Stock Foolbox but for a given start and a loss in plain code; mixed in before an attack."""

    start = None
    loss = "cross_entropy"
    labels = None
    target = None

    def get_random_start(self, x0, epsilon):
        return x0 + epsilon * ep.astensor(tf.constant(self.start, x0.raw.dtype))

    def get_loss_fn(self, model, classes):
        if self.loss == "cross_entropy":
            return super().get_loss_fn(model, classes)

        def value(x):
            logits = model(x).raw
            if self.loss == "dlr":
                return ep.astensor(tf.reduce_sum(ratio(logits, self.labels.numpy(), self.target)))
            known = classes.raw.numpy()
            own = tf.stack([logits[i, c] for i, c in enumerate(known)])
            return ep.astensor(tf.reduce_sum(best_other(logits, known) - own))

        return value


class PlainMIFGSM(foolbox.attacks.LinfMomentumIterativeFastGradientMethod):
    """As in the paper: gradients are divided by their L1 norm before they are summed."""

    def normalize(self, gradients, *, x, bounds):
        raw = gradients.raw
        size = tf.reduce_sum(tf.abs(raw), axis=(1, 2, 3), keepdims=True)
        return ep.astensor(raw / tf.maximum(size, 1e-12))


STOCK = {
    "linf_pgd": foolbox.attacks.LinfPGD,
    "l2_pgd": foolbox.attacks.L2PGD,
    "bim": foolbox.attacks.LinfBasicIterativeAttack,
    "mi_fgsm": PlainMIFGSM,
    "fgsm": foolbox.attacks.LinfFastGradientAttack,
    "l2_fgm": foolbox.attacks.L2FastGradientAttack,
}


def stock(asked, model, images, labels, target=None):
    """Adversarials and success of stock Foolbox, from the same start."""
    row = ATTACKS[asked.name]
    sizes = (
        {}
        if "fg" in asked.name[:6] and asked.name != "mi_fgsm"
        else {
            "steps": asked.steps,
            "rel_stepsize": asked.rel_stepsize,
            "abs_stepsize": asked.abs_stepsize,
        }
    )
    if asked.name == "mi_fgsm":
        sizes["momentum"] = asked.momentum
    if asked.name.endswith("_pgd"):
        sizes["random_start"] = asked.random_start
    attack = type("StockAttack", (Stock, STOCK[asked.name]), {})(**sizes)
    attack.loss, attack.labels, attack.target = asked.loss, labels, target
    attack.start = keyed.random_starts(
        names(len(images)),
        images.shape[1:],
        attack=descent._key(asked),
        seed=5,
        epsilon=radius(asked.name),
        restart=0,
        norm=row.norm,
    )
    wrapped = foolbox.models.TensorFlowModel(model, bounds=(0, 1), device="/CPU:0")
    aim = (
        labels
        if target is None
        else foolbox.criteria.TargetedMisclassification(
            tf.fill(labels.shape, tf.constant(target, tf.int64))
        )
    )
    _, adversarials, success = attack(wrapped, images, aim, epsilons=radius(asked.name))
    return adversarials.numpy(), success.numpy()


def names(number):
    return [f"image-{i}" for i in range(number)]


def ours(asked, model, images, labels, target=None):
    aim = {} if target is None else {"target": target}
    attack = ATTACKS[asked.name].make(helpers.replicas_of(model), asked, 5, **aim)
    made, queries = attack(images, labels, names(len(images)), radius(asked.name), 0)
    predicted = model(np.asarray(made)).numpy().argmax(1)
    success = predicted != labels.numpy() if target is None else predicted == target
    return np.asarray(made), success, queries


CASES = [
    *({"name": name} for name in STOCK),
    *(
        {"name": name, "abs_stepsize": 0.3 * EPSILON * scale}
        for name, scale in (("linf_pgd", 1), ("l2_pgd", 15), ("bim", 1), ("mi_fgsm", 1))
    ),
    {"name": "linf_pgd", "random_start": False},
    {"name": "l2_pgd", "random_start": False},
    {"name": "mi_fgsm", "momentum": 0.5},
    *({"name": name, "loss": loss} for name in STOCK for loss in ("margin", "dlr")),
]
AIMED = [
    {"name": name, "loss": loss}
    for name in ("linf_pgd", "l2_pgd", "bim", "mi_fgsm")
    for loss in ("cross_entropy", "margin", "dlr")
]


def say(case):
    return "-".join(str(value) for value in case.values())


EVERY = [*((case, None) for case in CASES), *((case, 2) for case in AIMED)]


@pytest.mark.parametrize(
    ("case", "target", "dtype"),
    [
        *((*each, "float64") for each in EVERY),
        *(
            pytest.param(*each, "float32", marks=[pytest.mark.slow] * ("loss" in each[0]))
            for each in EVERY
        ),
    ],
    ids=lambda value: say(value) if isinstance(value, dict) else str(value),
)
def test_every_row_equals_stock_foolbox_and_the_pool_is_never_weaker(case, target, dtype):
    model = shared(dtype)
    images, labels = data(model, 32, dtype)
    # The sweep leaves images of the target's class alone.
    others = np.flatnonzero(labels.numpy() != target)[:24]
    images, labels = tf.gather(images, others), tf.gather(labels, others)
    asked = setting(**case)
    theirs, their_success = stock(asked, model, images, labels, target)
    mine, my_success, queries = ours(asked, model, images, labels, target)
    steps = 1 if case["name"] in ("fgsm", "l2_fgm") else STEPS
    assert (queries == steps + 1).all()
    assert 0 < their_success.sum() < len(others), "a test in which all or none fall shows nothing"
    np.testing.assert_array_equal(my_success, their_success)
    if dtype == "float64":
        np.testing.assert_allclose(mine, theirs, atol=1e-5)

    swift = dataclasses.replace(asked, early_stop=True)
    pooled, success, queries = ours(swift, model, images, labels, target)
    assert not (their_success & ~success).any(), "its last iterate is among those judged"
    assert (queries <= steps + 1).all()
    if steps > 1:
        assert (queries[success] < steps + 1).any(), "some fell on the way, and stopped there"
    size = norms(pooled - images.numpy())[ATTACKS[asked.name].norm]
    assert (size <= radius(asked.name) + 1e-6).all()
    if dtype == "float64":
        np.testing.assert_allclose(pooled[~success], theirs[~success], atol=1e-5)


@pytest.mark.parametrize("name", STOCK)
@pytest.mark.parametrize("target", [None, 2])
def test_where_foolbox_saturates_every_row_fells_what_it_fells_and_more(name, target, monkeypatch):
    if target is not None and not ATTACKS[name].targeted:
        return
    monkeypatch.setitem(globals(), "EPSILON", 3 * EPSILON)
    model = small_model()
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([10000 * kernel, 10000 * bias])
    images, labels = data(model, 32, "float32")
    others = np.flatnonzero(labels.numpy() != target)
    images, labels = tf.gather(images, others), tf.gather(labels, others)
    _, theirs = stock(setting(name), model, images, labels, target)
    for early in (False, True):
        asked = setting(name, early_stop=early)
        _, mine, _ = ours(asked, model, images, labels, target)
        assert not (theirs & ~mine).any(), early
        # Toward a class the cross-entropy saturates only where it has been reached.
        assert target is not None or mine.sum() > theirs.sum()


def test_an_image_leaves_the_pool_with_the_first_iterate_that_has_fallen():
    model = shared("float64")
    images, labels = data(model, 24, "float64")
    pooled, success, queries = ours(setting("bim", early_stop=True), model, images, labels)
    first = np.full(24, STEPS + 1)
    for steps in range(STEPS, 0, -1):
        # k steps of BIM are the first k of more.
        made, fell, _ = ours(setting("bim", steps=steps), model, images, labels)
        first[fell] = steps
        alike = fell & (queries == steps + 2)
        np.testing.assert_allclose(pooled[alike], made[alike], atol=1e-9)
    on_the_way = success & (first < STEPS)
    assert len(set(first[on_the_way])) > 2
    # One gradient finds out that the iterate after `first` steps has fallen; then the judge.
    np.testing.assert_array_equal(queries[on_the_way], first[on_the_way] + 2)


def test_results_of_the_pool_do_not_depend_on_its_size_or_order():
    model = shared("float64")
    images, labels = data(model, 24, "float64")
    asked = setting("l2_pgd", early_stop=True)
    attack = ATTACKS["l2_pgd"].make(helpers.replicas_of(model), asked, 5)
    rows = zip(images.numpy(), labels.numpy(), names(24), strict=True)
    items = [Item(position, *row) for position, row in enumerate(rows)]
    whole = {d.item.position: d for d in attack.stream(items, 24, radius("l2_pgd"), 0)}
    assert sorted(whole) == list(range(24))
    for size in (1, 5, 32):
        few = list(attack.stream(items[::-1], size, radius("l2_pgd"), 0))
        assert sorted(d.item.position for d in few) == list(range(24)), "each once"
        for done in few:
            same = whole[done.item.position]
            assert done.passes == same.passes
            np.testing.assert_allclose(done.adversarial, same.adversarial, atol=1e-9)
    assert list(attack.stream([], 4, radius("l2_pgd"), 0)) == []


def test_first_passes_are_the_attack_in_a_cheaper_form():
    model = shared()
    images, labels = data(model, 24, "float32")
    asked = setting("linf_pgd", early_stop=True, first_passes=("one_step", "bfloat16"))
    attack = ATTACKS["linf_pgd"].make(helpers.replicas_of(model), asked, 5)
    one_step, low = attack.first
    made, queries = one_step(images, labels, names(24), EPSILON, 0)
    theirs, _ = stock(setting("fgsm"), model, images, labels)
    assert (np.abs(made - theirs) < 1e-6).mean() > 0.999
    assert (queries == 2).all()
    made, _ = low(images, labels, names(24), EPSILON, 0)
    full, _ = attack(images, labels, names(24), EPSILON, 0)
    fell = [model(x).numpy().argmax(1) != labels.numpy() for x in (made, full)]
    assert 0 < fell[0].sum() <= fell[1].sum() + 2, "nearly as strong"
    assert np.abs(made - images.numpy()).max() <= EPSILON + 1e-6


def test_the_bfloat16_copy_has_the_same_weights_and_float32_logits():
    model = shared()
    low = cheap.in_bfloat16(Replicas(model)).model
    assert [layer.compute_dtype for layer in low.layers] == ["bfloat16"] * 3 + ["float32"]
    for one, two in zip(model.get_weights(), low.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    images = noise(8, "float32")
    assert low(images).dtype == tf.float32
    apart = np.abs(low(images).numpy() - model(images).numpy()).max()
    assert 0 < apart < 0.1 * np.abs(model(images)).max()


def test_the_bfloat16_copy_does_not_round_pixels():
    model = build(config.Model("resnet18", weights="none", width=0.1), classes=3, image_size=16)
    kinds = {
        layer.name: layer.compute_dtype for layer in cheap.in_bfloat16(Replicas(model)).model.layers
    }
    assert kinds["preprocessing"] == "float32"
    assert kinds["features"] == "bfloat16"


@pytest.mark.parametrize(
    ("loss", "classes", "target", "message"),
    [
        (
            "dlr",
            2,
            None,
            "attack.loss = dlr: expected at least 3 classes, the model has 2; take margin "
            "or cross_entropy",
        ),
        ("dlr", 3, 1, "expected at least 4 classes with attack.target, the model has 3"),
        ("marign", 5, None, "no attack.loss 'marign'; did you mean margin"),
    ],
)
def test_a_loss_without_enough_classes_is_refused(loss, classes, target, message):
    with pytest.raises(UserError, match=message):
        losses.of(loss, classes=classes, target=target)
    assert losses.of("margin", classes=2, target=1) is losses.margin


def test_losses_by_hand():
    logits = tf.constant([[3.0, 1.0, 2.0, -2.0]])
    label = tf.constant([0], tf.int64)
    others = np.log(np.exp([1.0, 2.0, -2.0]).sum())
    assert losses.cross_entropy(logits, label, None).numpy() == pytest.approx([others - 3])
    others = np.log(np.exp([3.0, 2.0, -2.0]).sum())
    assert losses.cross_entropy(logits, label, 1).numpy() == pytest.approx([1 - others])
    assert losses.margin(logits, label, None).numpy() == pytest.approx([-1.0])
    assert losses.margin(logits, label, 1).numpy() == pytest.approx([-2.0])
    assert losses.dlr(logits, label, None).numpy() == pytest.approx([-1 / 2])
    # (1 - 3) / (3 - (1 + -2) / 2)
    assert losses.dlr(logits, label, 1).numpy() == pytest.approx([-2 / 3.5])


@pytest.mark.parametrize("early", [False, True])
def test_two_replicas_give_the_adversarials_of_one(early):
    results = []
    for spread in (tf.distribute.get_strategy(), strategy.mirrored()):
        with spread.scope():
            model = small_model()
        replicas = Replicas(model, spread)
        images, labels = data(model, 16, "float32")
        attack = ATTACKS["linf_pgd"].make(replicas, setting("linf_pgd", early_stop=early), 0)
        adversarials, _ = attack(images, labels, names(16), EPSILON, 0)
        success = model(np.asarray(adversarials)).numpy().argmax(1) != labels.numpy()
        results.append((np.asarray(adversarials), success))
    assert replicas.count == 2
    np.testing.assert_array_equal(results[0][1], results[1][1])
    # A gradient at rounding level may flip its sign in a few pixels.
    assert np.mean(np.abs(results[0][0] - results[1][0]) > 1e-5) < 1e-3


def test_an_image_is_attacked_alike_in_any_batch():
    model = shared()
    images, labels = data(model, 8, "float32")
    replicas = Replicas(model)
    gradient = engine.loss_gradient(replicas)
    _, whole = gradient(images, labels)
    _, half = gradient(images[:4], labels[:4])
    np.testing.assert_allclose(whole[:4], half, rtol=1e-4, atol=1e-6)


def test_gradient_is_that_of_the_summed_log_odds():
    model = shared("float64")
    images, labels = data(model, 2, "float64")
    loss, gradient = engine.loss_gradient(helpers.replicas_of(model))(images, labels)
    assert gradient.dtype == tf.float64

    def against(points):
        right = tf.nn.softmax(model(points)).numpy()[np.arange(2), labels.numpy()]
        return np.log((1 - right) / right)

    expected = against(images)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)
    nudged = images.numpy()
    nudged[1, 5, 6, 2] += 1e-5
    change = (against(nudged) - expected)[1] / 1e-5
    assert change == pytest.approx(float(gradient[1, 5, 6, 2]), rel=1e-3)


def test_random_starts_depend_on_their_key_alone():
    def draw(ids, **changes):
        key = {"attack": "linf_pgd", "seed": 0, "epsilon": 0.1, "restart": 0, **changes}
        return keyed.random_starts(ids, (4, 4, 3), **key)

    first = draw(["a", "b", "c"])
    assert first.dtype == np.float32
    assert first.min() >= -1
    assert first.max() <= 1
    np.testing.assert_array_equal(draw(["c"])[0], first[2])
    for change in ({"attack": "bim"}, {"seed": 1}, {"epsilon": 0.2}, {"restart": 1}):
        assert not np.array_equal(draw(["a"], **change)[0], first[0])
    many = keyed.random_starts(
        [str(i) for i in range(50)], (40, 40, 3), attack="linf_pgd", seed=0, epsilon=0.1, restart=0
    )
    assert abs(many.mean()) < 0.01
    assert many.std() == pytest.approx(1 / np.sqrt(3), abs=0.01)


def test_l2_starts_fill_the_ball_evenly():
    made = keyed.random_starts(
        [str(i) for i in range(2000)],
        (1, 2, 2),
        attack="l2_pgd",
        seed=0,
        epsilon=0.1,
        restart=0,
        norm="l2",
    )
    length = np.linalg.norm(made.reshape(2000, -1), axis=1)
    assert length.max() <= 1
    # In 4 dimensions half the volume lies inside 0.5 ** (1 / 4).
    assert (length < 0.5**0.25).mean() == pytest.approx(0.5, abs=0.04)
    assert np.abs(made.mean(axis=0)).max() < 0.03
