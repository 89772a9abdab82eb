"""The sweep: contracts over every row of ATTACKS, carry and independent, resume."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import loader, passes, progress, sweep
from attnrobust.attacks.methods import ATTACKS
from attnrobust.attacks.row import Row
from attnrobust.data import inputs, records
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas
from attnrobust.stages import prediction
from attnrobust.training import strategy


@pytest.fixture(scope="module")
def dataset(records_folder):
    return records.load(records_folder)


@pytest.fixture(scope="module")
def stored(dataset, tiny):
    """All that the records hold of the test split, in one batch."""
    (batch,) = inputs.evaluation_batches(
        dataset, "test", data=tiny.data, batch_size=64
    ).as_numpy_iterator()
    return batch


@pytest.fixture
def from_records():
    """For tests that read the records whenever the sweep does."""


@pytest.fixture(autouse=True)
def in_memory(request, stored, monkeypatch):
    """Records are read once, but `from_records`: a pipeline takes longer to build than these images
    to attack."""
    if "from_records" in request.fixturenames:
        return

    def batches(self, chosen=None):
        rows = np.arange(len(stored["id"])) if chosen is None else np.flatnonzero(chosen)
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            yield {name: column[part] for name, column in stored.items()}

    monkeypatch.setattr(loader.Loader, "batches", batches)


@pytest.fixture(scope="module")
def model(stored):
    """Two convolutions, and all that training and inference do differently."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    with strategy.mirrored().scope():
        network = keras.Sequential(
            [
                layers.Input((32, 32, 3)),
                layers.Conv2D(8, 3, strides=2, activation="relu"),
                layers.BatchNormalization(),
                layers.Conv2D(16, 3, strides=2, activation="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dropout(0.5),
                layers.Dense(7),
            ]
        )
    # A random network gives every image nearly the same logits; without their mean, classes mix
    # and some images fall where others stand.
    kernel, bias = network.layers[-1].get_weights()
    mean = network(stored["image"]).numpy().mean(axis=0)
    network.layers[-1].set_weights([kernel, bias - mean])
    return network


@functools.cache
def one_device(model):
    """One for a model: the steps that were compiled for it are kept with it."""
    return Replicas(model)


@pytest.fixture(scope="module")
def learned(stored, model):
    """The dataset, with the model's own predictions as labels of most images."""
    predicted = model(stored["image"]).numpy().argmax(1)
    wrong = np.arange(len(predicted)) % 7 == 3
    return np.where(wrong, (predicted + 1) % 7, predicted)


def swept(tiny, dataset, model, labels, folder, *settings, spread=None):
    few = [f"attack.{name}={getattr(tiny.attack, name)}" for name in ("steps", "rel_stepsize")]
    experiment = config.with_settings(
        tiny, [*few, "attack.epsilons=0.0002,0.001,0.01", *settings]
    )  # Said, since another attack takes its own otherwise.
    work = sweep.Sweep(
        experiment, dataset, one_device(model) if spread is None else Replicas(model, spread)
    )
    work.labels = labels
    folder.mkdir(exist_ok=True)
    work.run(folder)
    name = experiment.attack.name
    return {
        e: runs.load_npz(folder / runs.attack_file(name, e))
        for e in (0.0, *experiment.attack.epsilons)
    }


def robust(state):
    return float((state["logits"].argmax(1) == state["label"]).mean())


RADII = {"linf": "0.0002,0.001,0.01", "l2": "0.01,0.05,0.5", "l0": "2,20,60"}
# Without gradients and with few queries, they may find nothing.
WEAK = (
    "square",
    "square_l2",
    "boundary",
    "hopskipjump",
    "uniform_noise",
    "sign_noise",
    "gaussian_noise",
    "salt_and_pepper",
)
# To compile the four of AutoAttack takes longest; each stands here alone, and the four together in
# test_what_left_early_and_is_judged_right_is_attacked_on and in test_rows.
SLOW = {"autoattack": pytest.mark.slow}
CASES = [
    pytest.param(name, mode, marks=SLOW.get(name, ()))
    for name, row in ATTACKS.items()
    for mode in ("carry", "independent")
    if mode == "carry" or row.stepped
]


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_contract_of_every_attack(name, mode, tiny, dataset, stored, model, learned, tmp_path):
    before = [weight.copy() for weight in model.get_weights()]
    settings = [
        f"attack.name={name}",
        f"attack.mode={mode}",
        "attack.queries=20",
        "attack.gamma=0.02",
        "attack.aims=likeliest",
        f"attack.epsilons={RADII[ATTACKS[name].norm]}",
    ]
    states = swept(tiny, dataset, model, learned, tmp_path, *settings)
    ids = stored["id"].astype(str).tolist()
    clean = robust(states[0.0])
    assert 0.5 < clean < 1
    for epsilon, state in states.items():
        assert state["id"].tolist() == ids, "each id once, in record order"
        assert (state[ATTACKS[name].norm] <= epsilon + 1e-6).all()
        assert robust(state) <= clean
        assert state["sample_image"].min() >= 0
        assert state["sample_image"].max() <= 1
        judged = model(state["sample_image"]).numpy()
        rows = [ids.index(i) for i in state["sample_id"]]
        np.testing.assert_allclose(judged, state["logits"][rows], rtol=1e-3, atol=1e-4)
        change = np.abs(state["sample_image"] - states[0.0]["sample_image"]).max(axis=(1, 2, 3))
        np.testing.assert_allclose(change, state["linf"][rows], atol=1e-7)
    assert name in WEAK or robust(states[max(states)]) < clean
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("name", "rows"), [("square", 8), ("linf_pgd", 4)])
def test_adversarials_are_judged_in_the_batch_that_the_attack_judged_them_in(
    name, rows, tiny, dataset, model, monkeypatch
):
    # Rounding depends on the batch; only the pool leaves a slack beyond the boundary.
    experiment = config.with_settings(tiny, [f"attack.name={name}", "attack.batch_size=8"])
    work = sweep.Sweep(experiment, dataset, one_device(model))
    shapes, forward = [], work.replicas.forward
    monkeypatch.setattr(work.replicas, "forward", lambda x: shapes.append(len(x)) or forward(x))
    three = np.full((3, 32, 32, 3), 0.5, np.float32)
    found = work._measured(
        loader.Attacked(np.arange(3), three, three, np.ones(3, int), np.ones(3, bool))
    )
    assert shapes == [rows]
    assert len(found["logits"]) == 3


@pytest.mark.parametrize(
    "name", ["linf_pgd", "apgd_ce", "apgd_t", "square", "square_l2", "autoattack"]
)
def test_what_left_early_and_is_judged_right_is_attacked_on(
    name, tiny, dataset, tmp_path, monkeypatch
):
    """A judge that sees every logit of a label a little higher, as another rounding might."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.layers.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(7)]
    )
    images = inputs.evaluation_batches(dataset, "test", data=tiny.data, batch_size=64)
    labels = np.concatenate([model(batch["image"]).numpy().argmax(1) for batch in images])
    real = sweep.Sweep._measured

    def strict(self, made):
        found = real(self, made)
        found["logits"][np.arange(len(made.positions)), self.labels[made.positions]] += 0.2
        return found

    monkeypatch.setattr(sweep.Sweep, "_measured", strict)
    epsilon = {"square": 0.1, "square_l2": 6.0}.get(name, 0.05)
    settings = [
        f"attack.name={name}",
        f"attack.epsilons={epsilon}",
        "attack.first_passes=",
        "attack.samples=1",
        "attack.queries=60",
        "attack.steps=5",
    ]
    fast, full = (
        swept(tiny, dataset, model, labels, tmp_path / said, *settings, f"attack.early_stop={said}")
        for said in ("true", "false")
    )
    assert robust(fast[0.0]) == 1
    assert robust(full[epsilon]) < 0.6
    assert robust(fast[epsilon]) <= robust(full[epsilon])


@pytest.mark.usefixtures("from_records")
def test_clean_condition_equals_predict(tiny, dataset, model, tmp_path):
    states = swept(
        tiny,
        dataset,
        model,
        inputs.labels(dataset, "test"),
        tmp_path,
        "attack.epsilons=0.01",
        "attack.steps=1",
    )
    prediction.predict(tiny, dataset, tmp_path, one_device(model))
    clean = runs.load_npz(tmp_path / "clean.npz")
    for key in ("id", "label", "logits"):
        np.testing.assert_array_equal(states[0.0][key], clean[key])
    assert not states[0.0]["linf"].any()


def test_carry_is_monotone_and_never_weaker_than_independent(
    tiny, dataset, model, learned, tmp_path
):
    carry = swept(tiny, dataset, model, learned, tmp_path / "c")
    alone = swept(tiny, dataset, model, learned, tmp_path / "i", "attack.mode=independent")
    fallen = {e: s["logits"].argmax(1) != s["label"] for e, s in carry.items()}
    epsilons = sorted(fallen)
    for smaller, larger in itertools.pairwise(epsilons):
        assert not (fallen[smaller] & ~fallen[larger]).any()
    for epsilon in epsilons:
        their = alone[epsilon]["logits"].argmax(1) != alone[epsilon]["label"]
        assert not (their & ~fallen[epsilon]).any(), "same starts, so carry finds no less"
    samples = np.isin(carry[0.01]["id"], carry[0.01]["sample_id"])
    spared = fallen[0.001] & ~samples
    assert spared.any()
    assert not carry[0.01]["queries"][spared].any(), "what fell is not attacked again"
    assert carry[0.01]["queries"][samples].all(), "samples are attacked at every epsilon"
    assert alone[0.01]["queries"].all()


def test_restarts_help_or_do_nothing_and_cost_queries(tiny, dataset, model, learned, tmp_path):
    one = swept(tiny, dataset, model, learned, tmp_path / "1")
    three = swept(tiny, dataset, model, learned, tmp_path / "3", "attack.restarts=3")
    for epsilon in one:
        assert robust(three[epsilon]) <= robust(one[epsilon])
    stands = three[0.0002]["logits"].argmax(1) == three[0.0002]["label"]
    stands &= ~np.isin(three[0.0002]["id"], three[0.0002]["sample_id"])
    assert (three[0.0002]["queries"][stands] == 2 + 3 * (tiny.attack.steps + 1)).all(), (
        "one step, then three attacks; each with a forward pass for the judge"
    )


def test_results_depend_on_neither_batches_nor_replicas(tiny, dataset, model, learned, tmp_path):
    base = swept(tiny, dataset, model, learned, tmp_path / "a")
    small = swept(tiny, dataset, model, learned, tmp_path / "b", "attack.batch_size=4")
    two = swept(tiny, dataset, model, learned, tmp_path / "c", spread=strategy.mirrored())
    for epsilon in base:
        for other in (small, two):
            np.testing.assert_array_equal(base[epsilon]["id"], other[epsilon]["id"])
            np.testing.assert_array_equal(
                base[epsilon]["logits"].argmax(1), other[epsilon]["logits"].argmax(1)
            )


@pytest.mark.slow
@pytest.mark.usefixtures("from_records")
def test_a_cut_off_sweep_goes_on_and_ends_alike(
    tiny, dataset, model, learned, tmp_path, monkeypatch
):
    whole = swept(tiny, dataset, model, learned, tmp_path / "a")
    real = sweep.Sweep._attacked

    def cut(self, state, epsilon):
        if epsilon == 0.001:
            raise KeyboardInterrupt
        return real(self, state, epsilon)

    monkeypatch.setattr(sweep.Sweep, "_attacked", cut)
    with pytest.raises(KeyboardInterrupt):
        swept(tiny, dataset, model, learned, tmp_path / "b")
    kept = tmp_path / "b" / "linf_pgd-0.0002.npz"
    stamp = kept.stat().st_mtime_ns
    monkeypatch.setattr(sweep.Sweep, "_attacked", real)
    resumed = swept(tiny, dataset, model, learned, tmp_path / "b")
    assert kept.stat().st_mtime_ns == stamp
    for epsilon in whole:
        for key in whole[epsilon]:
            np.testing.assert_array_equal(whole[epsilon][key], resumed[epsilon][key])


def test_samples_take_turns_over_the_classes():
    labels = np.array([2, 2, 2, 0, 0, 1])
    assert loader.sample_positions(labels, 4).tolist() == [3, 5, 0, 4]
    assert loader.sample_positions(labels, 99).tolist() == [3, 5, 0, 4, 1, 2]


def test_logits_that_are_not_finite_end_in_one_clear_line(tiny, dataset, tmp_path):
    image = keras.Input((32, 32, 3))
    logits = keras.layers.Dense(7)(keras.layers.Flatten()(image))
    broken = keras.Model(image, keras.layers.Lambda(lambda x: tf.math.log(-1 - x * x))(logits))
    with pytest.raises(UserError, match="not finite"):
        prediction.predict(tiny, dataset, tmp_path, Replicas(broken))
    with pytest.raises(UserError, match="not finite"):
        swept(tiny, dataset, broken, inputs.labels(dataset, "test"), tmp_path)


def test_an_attack_that_leaves_the_ball_is_caught(tiny, dataset, model, tmp_path, monkeypatch):
    def cheat(replicas, setting, seed):
        return lambda images, labels, ids, epsilon, restart: (
            tf.clip_by_value(images + 2 * epsilon, 0, 1),
            np.ones(len(ids), int),
        )

    monkeypatch.setitem(ATTACKS, "cheat", Row(cheat, passes.single))
    with pytest.raises(ValueError, match=r"attack left its ball at ε 0\.0002"):
        swept(tiny, dataset, model, inputs.labels(dataset, "test"), tmp_path, "attack.name=cheat")


def test_unknown_attack_names_the_known_ones(tiny, dataset, model):
    experiment = config.with_settings(tiny, ["attack.name=linf_pdg"])
    with pytest.raises(UserError, match=r"no attack\.name 'linf_pdg'; did you mean linf_pgd\?"):
        sweep.Sweep(experiment, dataset, one_device(model))


def test_steps_that_cannot_reach_the_edge_of_the_ball_are_called_out(
    tiny, dataset, model, learned, tmp_path, caplog
):
    swept(tiny, dataset, model, learned, tmp_path / "a", "attack.rel_stepsize=0.3")
    assert "reach" not in caplog.text, "4 steps of 0.3 reach 1.2"
    weak = swept(
        tiny,
        dataset,
        model,
        learned,
        tmp_path / "b",
        "attack.rel_stepsize=0.03",
        "attack.random_start=false",
        "attack.first_passes=",
    )
    assert "4 steps of 0.03 ε reach 0.12 of the ball" in caplog.text
    assert weak[0.01]["linf"].max() == pytest.approx(0.12 * 0.01, rel=1e-3)


def test_a_minimal_attack_runs_once_and_is_judged_by_distance(
    tiny, dataset, model, learned, tmp_path, monkeypatch
):
    calls = []

    def brighten(replicas, setting, seed):
        """The smallest of a row of brightenings that changes the prediction, or the image."""

        def attack(images, labels, ids, epsilon, restart):
            assert epsilon == np.inf
            calls.extend(ids)
            best = images.numpy()
            for step in (0.05, 0.005, 0.0008):
                brighter = np.clip(images + step, 0, 1)
                wrong = replicas.model(brighter).numpy().argmax(1) != labels
                best = np.where(wrong[:, None, None, None], brighter, best)
            return best, np.full(len(ids), 3)

        return attack

    monkeypatch.setitem(ATTACKS, "brighten", Row(brighten, passes.single, kind="minimal"))
    states = swept(
        tiny,
        dataset,
        model,
        learned,
        tmp_path,
        "attack.name=brighten",
        "attack.epsilons=0.001,0.01,0.1",
        "attack.batch_size=1",
    )
    right = (states[0.0]["logits"].argmax(1) == learned).sum()
    assert len(calls) == right, "once, and only what was right"
    accuracies = [robust(states[e]) for e in (0.0, 0.001, 0.01, 0.1)]
    assert sorted(accuracies, reverse=True) == accuracies
    assert len(set(accuracies)) > 2, "otherwise nothing is shown"
    for epsilon, state in states.items():
        assert (state["linf"] <= epsilon + 1e-6).all()
        assert state["queries"].sum() == (3 * right if epsilon == 0.001 else 0)


def test_a_radius_above_one_is_refused_for_linf_alone(tiny, dataset, model, monkeypatch):
    experiment = config.with_settings(tiny, ["attack.epsilons=0.5,2"])
    with pytest.raises(UserError, match=r"attack\.epsilons = 2: expected at most 1 for linf_pgd"):
        sweep.Sweep(experiment, dataset, one_device(model))
    monkeypatch.setitem(
        ATTACKS, "linf_pgd", Row(ATTACKS["linf_pgd"].make, passes.stepped, norm="l2")
    )
    sweep.Sweep(experiment, dataset, one_device(model))


def test_first_passes_and_early_stop_never_weaken_the_attack(
    tiny, dataset, model, learned, tmp_path
):
    plain = swept(
        tiny, dataset, model, learned, tmp_path / "a", "attack.early_stop=false", "attack.samples=1"
    )
    for number, cheaper in enumerate(("", "one_step", "one_step,bfloat16")):
        swift = swept(
            tiny,
            dataset,
            model,
            learned,
            tmp_path / str(number),
            f"attack.first_passes={cheaper}",
            "attack.samples=1",
        )
        for epsilon, state in swift.items():
            stands = plain[epsilon]["logits"].argmax(1) == learned
            fallen = state["logits"].argmax(1) != learned
            assert not (~stands & ~fallen).any(), f"{passes} missed at {epsilon}"
        if not passes:
            # But for the sample image, which is attacked in full as well.
            spent = [
                sum(s["queries"][~np.isin(s["id"], s["sample_id"])].sum() for s in states.values())
                for states in (swift, plain)
            ]
            assert spent[0] < spent[1]


def test_what_was_wrong_from_the_start_costs_nothing(tiny, dataset, model, learned, tmp_path):
    states = swept(tiny, dataset, model, learned, tmp_path)
    wrong = states[0.0]["logits"].argmax(1) != learned
    wrong &= ~np.isin(states[0.0]["id"], states[0.0]["sample_id"])
    assert wrong.any()
    for state in states.values():
        assert not state["queries"][wrong].any()


def test_a_targeted_attack_leaves_images_of_its_class_alone(
    tiny, dataset, model, learned, tmp_path
):
    name = dataset.classes[int(np.bincount(learned).argmax())]
    aim = dataset.classes.index(name)
    states = swept(
        tiny, dataset, model, learned, tmp_path, f"attack.target={name}", "attack.loss=margin"
    )
    own = learned == aim
    reached = []
    for epsilon, state in states.items():
        assert not state["queries"][own].any()
        assert not state["linf"][own].any()
        hit = state["logits"].argmax(1) == aim
        reached.append(hit[~own].mean())
        if epsilon == 0.001:
            before = hit
    assert reached[-1] > reached[0]
    assert reached == sorted(reached)
    spared = before & ~own & ~np.isin(state["id"], state["sample_id"])
    assert not state["queries"][spared].any(), "what reads as the target is not attacked again"


def test_what_looks_for_the_nearest_leaves_images_of_its_class_alone(
    tiny, dataset, model, learned, tmp_path
):
    wrong = np.roll(learned, 1)  # most of the class aimed at are read as another
    name = dataset.classes[int(np.bincount(wrong).argmax())]
    states = swept(
        tiny,
        dataset,
        model,
        wrong,
        tmp_path,
        f"attack.target={name}",
        "attack.name=jsma",
        "attack.epsilons=20",
    )
    own = wrong == dataset.classes.index(name)
    assert (states[0.0]["logits"].argmax(1) != wrong)[own].any()
    assert states[20]["l0"].any()
    assert not states[20]["l0"][own].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["attack.target=nvv"], "no attack.target 'nvv'; did you mean nv.*known: "),
        (
            ["attack.target=nv", "attack.name=fgsm"],
            r"attack\.target = nv: fgsm cannot aim.*linf_pgd",
        ),
        (
            ["attack.first_passes=one_stop"],
            "no attack.first_passes 'one_stop'; did you mean one_step",
        ),
        (["data.image_size=48"], r"data\.image_size = 48: the model expects images of 32 x 32"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, message, tiny, dataset, model):
    with pytest.raises(UserError, match=message):
        sweep.Sweep(config.with_settings(tiny, settings), dataset, one_device(model))


def test_a_model_of_other_classes_or_with_probabilities_is_refused(tiny, dataset, model, tmp_path):
    few = keras.Model(model.input, keras.layers.Dense(3)(model.output))
    with pytest.raises(UserError, match=r"records of 7 classes \(.*nv.*\), the model has 3"):
        sweep.Sweep(tiny, dataset, Replicas(few))
    soft = keras.Model(model.input, keras.layers.Softmax()(model.output))
    with pytest.raises(UserError, match=r"gives probabilities .* expected logits"):
        sweep.Sweep(tiny, dataset, Replicas(soft)).run(tmp_path)


def test_restarts_of_an_attack_without_chance_are_one(tiny, dataset, model, caplog):
    for settings in (["attack.name=bim"], ["attack.random_start=false"]):
        asked = config.with_settings(tiny, ["attack.restarts=3", *settings])
        assert sweep.Sweep(asked, dataset, one_device(model)).restarts == 1
        assert "one start does for all 3" in caplog.text
        caplog.clear()
    asked = config.with_settings(tiny, ["attack.restarts=3"])
    assert sweep.Sweep(asked, dataset, one_device(model)).restarts == 3
    assert not caplog.text


def test_steps_of_a_fixed_length_count_towards_the_reach(
    tiny, dataset, model, learned, tmp_path, caplog
):
    settings = ["attack.abs_stepsize=0.002", "attack.random_start=false", "attack.first_passes="]
    states = swept(tiny, dataset, model, learned, tmp_path, *settings)
    assert "4 steps of 0.2 ε reach 0.80 of the ball" in caplog.text
    assert states[0.01]["linf"].max() <= 0.008 + 1e-6


def test_progress_is_said_where_there_is_no_terminal(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.Progress("ε 0.01", 100) as bar:
        for _ in range(4):
            now[0] += 20
            bar.update(10)
    said = [record.message for record in caplog.records]
    assert said == [
        "ε 0.01: 20 of 100 images, 0.5 images/s, 160 s left",
        "ε 0.01: 40 of 100 images, 0.5 images/s, 120 s left",
    ]


@pytest.mark.usefixtures("from_records")
def test_the_feed_gives_what_is_asked_for_in_record_order(tiny, dataset):
    source = loader.Loader(dataset, tiny.data, 5)
    ids = np.concatenate([batch["id"] for batch in source.batches()]).astype(str)
    todo = np.arange(len(ids)) % 3 == 1
    state = {"id": ids, "label": np.arange(len(ids))}
    items = list(source.items(todo, state))
    assert [item.position for item in items] == np.flatnonzero(todo).tolist()
    assert [item.id for item in items] == ids[todo].tolist()
    assert [item.label for item in items] == np.flatnonzero(todo).tolist()


def test_a_new_row_is_swept_by_what_it_says_of_itself(
    tiny, dataset, model, learned, tmp_path, monkeypatch, caplog
):
    seen = []

    def brighten(replicas, setting, seed):
        seen.append((setting.steps, setting.early_stop))
        return lambda images, labels, ids, epsilon, restart: (
            np.clip(images + np.float32(epsilon), 0, 1),
            np.ones(len(ids), int),
        )

    row = Row(
        brighten,
        passes.single,
        starts=True,
        own={"steps": 9, "rel_stepsize": 0.5},
        source="invented",
    )
    monkeypatch.setitem(ATTACKS, "brighten", row)
    states = swept(
        tiny,
        dataset,
        model,
        learned,
        tmp_path,
        "attack.name=brighten",
        "attack.steps=1",
        "attack.rel_stepsize=none",
        "attack.random_start=false",
        "attack.restarts=3",
    )
    assert seen == [(1, True), (1, False)], "the sample images in full"
    assert "1 steps of 0.5 ε reach 0.50 of the ball" in caplog.text
    assert "one start does for all 3" in caplog.text
    assert "brighten: steps 1 (invented: 9)" in caplog.text
    assert states[0.01]["queries"].max() == 2
    assert robust(states[0.01]) <= robust(states[0.0])


def test_the_gap_between_the_two_largest_logits_is_said_of_the_clean_images(
    tiny, dataset, model, learned, tmp_path, caplog
):
    def said():
        (line,) = [r.message for r in caplog.records if "logit gap" in r.message]
        caplog.clear()
        return line

    states = swept(tiny, dataset, model, learned, tmp_path, "attack.epsilons=0.001")
    logits = np.sort(states[0.0]["logits"], axis=1)
    gap = logits[:, -1] - logits[:, -2]
    expected = f"median {np.median(gap):.3g}, largest {gap.max():.3g}"
    assert said().endswith(expected)
    swept(tiny, dataset, model, learned, tmp_path, "attack.epsilons=0.001")
    assert said().endswith(expected), "also of a sweep that goes on"


def test_robust_is_what_is_right_without_the_attack_too(
    tiny, dataset, stored, model, learned, tmp_path, monkeypatch, caplog
):
    predicted = model(stored["image"]).numpy().argmax(1)
    read_as = dict(zip(predicted.tolist(), stored["image"], strict=True))

    def lucky(replicas, setting, seed):
        """Images that are read as the label."""
        return lambda images, labels, ids, epsilon, restart: (
            tf.stack(
                [
                    read_as.get(int(label), image)
                    for label, image in zip(labels, images, strict=True)
                ]
            ),
            np.ones(len(ids), int),
        )

    monkeypatch.setitem(ATTACKS, "lucky", Row(lucky, passes.single, random=False))
    states = swept(
        tiny,
        dataset,
        model,
        learned,
        tmp_path,
        "attack.name=lucky",
        "attack.mode=independent",
        "attack.epsilons=1",
    )
    before, after = (states[e]["logits"].argmax(1) == learned for e in (0.0, 1.0))
    assert (after & ~before).any(), "otherwise nothing is shown"
    (line,) = [r.message for r in caplog.records if "robust accuracy" in r.message]
    assert f"robust accuracy {(before & after).mean():.3f}" in line


def test_samples_show_the_whole_attack(tiny, dataset, model, learned, tmp_path):
    """As Foolbox's loop leaves them, whatever the early stop does for the others."""
    settings = [
        "attack.rel_stepsize=0.1",
        "attack.epsilons=0.01",
        "attack.first_passes=",
        "attack.random_start=false",
        "attack.steps=8",
    ]
    early = swept(tiny, dataset, model, learned, tmp_path / "a", *settings)[0.01]
    whole = swept(
        tiny,
        dataset,
        model,
        learned,
        tmp_path / "b",
        *settings,
        "attack.early_stop=false",
        "attack.mode=independent",
    )[0.01]
    rows = np.isin(early["id"], early["sample_id"])
    fallen = (whole["logits"].argmax(1) != learned)[rows]
    assert fallen.any()
    change = early["sample_image"] - whole["sample_image"]
    order = [list(early["id"][rows]).index(i) for i in early["sample_id"]]
    assert np.mean(np.abs(change[fallen[order]]) > 1e-6) < 1e-3, "but for signs at rounding level"
    others = ~rows & (early["queries"] > 0)
    assert early["linf"][others].mean() < whole["linf"][others].mean() - 1e-5
