"""What an experiment can say: JSON in and out, settings by type, limits, look-ups."""

import json
from typing import Any

import pytest

from attnrobust import config
from attnrobust.config import Attack, Data, Experiment, Explanation, Model, Training, checking
from attnrobust.errors import UserError

PLAIN = Experiment(name="plain", data=Data(dataset="ham10000"))
OTHER = Experiment(
    name="other.name-2_x",
    data=Data(dataset="eyepacs", image_size=96, limit=7, records="eyepacs_1-2"),
    model=Model(
        backbone="mobilenet",
        head="soft_attention",
        weights="/some/where.h5",
        width=0.25,
        cut="literal",
        variant="literal",
        maps=3,
        gamma=0.5,
        dropout=0.25,
    ),
    training=Training(
        epochs=3,
        batch_size=5,
        learning_rate=1e-3,
        adam_epsilon=1e-7,
        class_weights="none",
        patience=2,
        min_delta=0.0,
        epoch_fraction=0.1,
        augmentation=(),
    ),
    attack=Attack(
        name="linf_fgsm",
        epsilons=(1 / 255, 8 / 255),
        steps=3,
        rel_stepsize=0.2,
        restarts=2,
        random_start=False,
        batch_size=9,
        mode="independent",
        samples=4,
    ),
    explanation=Explanation(methods=("grad_cam", "saliency"), layer="x", target="label"),
    seed=41,
)


def changed(experiment: Experiment, key: str, value: Any) -> str:
    """The experiment's JSON text with one value (`section.field`) replaced."""
    values = json.loads(config.to_json(experiment))
    *sections, name = key.split(".")
    node = values
    for section in sections:
        node = node[section]
    node[name] = value
    return json.dumps(values)


def field(experiment: Experiment, key: str) -> Any:
    value: Any = experiment
    for name in key.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("experiment", [PLAIN, OTHER])
def test_json_gives_an_equal_experiment_back(experiment: Experiment) -> None:
    assert config.from_json(config.to_json(experiment)) == experiment


def test_fields_that_json_leaves_out_take_their_defaults() -> None:
    assert config.from_json('{"name": "plain", "data": {"dataset": "ham10000"}}') == PLAIN


def test_a_whole_number_in_json_is_a_float_where_one_is_expected() -> None:
    rate = config.from_json(changed(PLAIN, "training.learning_rate", 1)).training.learning_rate
    assert rate == 1.0
    assert type(rate) is float


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("training.epochs=2", 2),
        ("seed=7", 7),
        ("name=x", "x"),
        ("model.weights=/a=b/w.h5", "/a=b/w.h5"),
        ("training.learning_rate=1e-3", 0.001),
        ("training.learning_rate=1", 1.0),
        ("attack.rel_stepsize=1/8", 0.125),
        ("attack.epsilons=8/255", (8 / 255,)),
        ("attack.epsilons=1/255, 0.5,1", (1 / 255, 0.5, 1.0)),
        ("attack.random_start=false", False),
        ("attack.random_start=True", True),
        ("attack.random_start=0", False),
        ("data.limit=5", 5),
        ("data.limit=none", None),
        ("data.limit=", None),
        ("training.augmentation=flip, zoom", ("flip", "zoom")),
        ("training.augmentation=", ()),
    ],
)
def test_a_setting_is_read_by_the_type_of_its_field(setting: str, expected: Any) -> None:
    start = config.with_settings(OTHER, ["attack.random_start=1"]) if expected is False else OTHER
    key = setting.partition("=")[0]
    value = field(config.with_settings(start, [setting]), key)
    assert value == expected
    assert type(value) is type(expected)


def test_settings_change_nothing_else_and_the_last_one_counts() -> None:
    found = config.with_settings(OTHER, ["training.epochs=4", "seed=1", "training.epochs=9"])
    values, before = (json.loads(config.to_json(each)) for each in (found, OTHER))
    assert (found.training.epochs, found.seed) == (9, 1)
    values["training"]["epochs"], values["seed"] = 3, 41
    assert values == before
    assert OTHER.training.epochs == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.epoch=2", "no field 'epoch' in training; known: epochs, batch_size"),
        ("epochs=2", "no field 'epochs'; known: name, data, model, training"),
        ("trainings.epochs=2", "no field 'trainings'; known: name"),
        ("training", "--set training: expected key=value"),
        ("data=3", "name one of its fields: data.dataset, data.image_size, data.limit"),
        ("name.x=1", "'name' holds no fields"),
        ("training.epochs=two", "--set training.epochs=two: expected int"),
        ("training.epochs=2.5", "--set training.epochs=2.5: expected int"),
        ("training.epochs=none", "expected int"),
        ("training.learning_rate=fast", "expected float"),
        ("attack.rel_stepsize=1/0", "expected float"),
        ("attack.rel_stepsize=1/2/3", "expected float"),
        ("attack.epsilons=0.1,x", "--set attack.epsilons=x: expected float"),
        ("attack.random_start=maybe", "expected bool"),
        ("data.limit=all", "expected int"),
        ("attack.steps=many", "--set attack.steps=many: expected int"),
        (
            "data.limit=9223372036854775808",
            "data.limit = 9223372036854775808: expected a",
        ),
        ("data.limit=2147483648", "from -2,147,483,647 to 2,147,483,647"),
        ("data.limit=" + "9" * 400, "from -2,147,483,647 to 2,147,483,647"),
        ("training.learning_rate=nan", "training.learning_rate = nan: expected a number from"),
        ("training.learning_rate=inf", "training.learning_rate = inf: expected a number from"),
        ("training.min_delta=1e400", "training.min_delta = inf: expected a number from"),
        ("attack.abs_stepsize=inf", "attack.abs_stepsize = inf: expected a number from"),
        ("attack.epsilons=0.1,nan", "attack.epsilons = nan: expected a number from"),
        ("model.gamma=-inf", "model.gamma = -inf: expected a number from"),
        ("data.limit=-1", "data.limit = -1: expected at least 1"),
    ],
)
def test_a_wrong_setting_names_what_was_expected(setting: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        config.with_settings(OTHER, [setting])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.epochs", "2", "training.epochs = '2': expected int"),
        ("training.epochs", 2.0, "training.epochs = 2.0: expected int"),
        ("training.epochs", True, "training.epochs = True: expected int"),
        ("training.epochs", None, "training.epochs = None: expected int"),
        ("training.learning_rate", True, "training.learning_rate = True: expected float"),
        ("attack.random_start", 1, "attack.random_start = 1: expected bool"),
        ("attack.epsilons", "0.1", "attack.epsilons = '0.1': expected"),
        ("attack.epsilons", [0.1, "x"], "attack.epsilons = 'x': expected float"),
        ("data.limit", "all", "data.limit = 'all': expected int"),
        ("training", 3, "training = 3: expected fields"),
        ("training.epoch", 3, "no field 'epoch' in training; known: epochs"),
        ("data", {}, "data: missing field dataset"),
    ],
)
def test_json_of_another_type_is_refused_by_name(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        config.from_json(changed(OTHER, key, value))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "expected fields"), ('{"name": "x"}', "missing field data")],
)
def test_text_that_is_no_experiment_is_a_user_error(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        config.from_json(text)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("name", ["", "a/b", "..", ".hidden", "a b"]),
        ("seed", [-1, 2**31]),
        ("data.dataset", ["", "../x", "a\\b"]),
        ("data.image_size", [7, 0, -224]),
        ("data.limit", [0, -1]),
        ("data.records", ["../eyepacs", ".hidden", "a/b"]),
        ("model.width", [0.0, -1.0]),
        ("model.maps", [0]),
        ("model.dropout", [-0.1, 1.0]),
        ("model.variant", ["full", ""]),
        ("model.cut", ["paper"]),
        ("training.epochs", [0]),
        ("training.batch_size", [0]),
        ("training.patience", [0]),
        ("training.learning_rate", [0.0, -0.1, float("nan")]),
        ("training.adam_epsilon", [0.0]),
        ("training.min_delta", [-0.001]),
        ("training.epoch_fraction", [0.0, 1.01, float("nan")]),
        ("training.focal_gamma", [-0.5, float("nan")]),
        ("training.class_balanced_beta", [-0.1, 1.0, float("nan")]),
        ("training.start", ["../x", ".x"]),
        ("training.weight_decay", [-0.1, float("nan")]),
        ("training.decay_epochs", [[0], [3, 2], [2, 2]]),
        ("training.jsd_weight", [-1.0, float("nan")]),
        ("training.augmix_operations", [[]]),
        ("training.augmix_severity", [0.0, 10.5]),
        ("training.augmix_width", [0]),
        ("training.augmix_depth", [0]),
        ("training.augmix_alpha", [0.0]),
        ("attack.epsilons", [[], [0.2, 0.1], [0.1, 0.1], [0.0], [-0.1]]),
        ("attack.queries", [0]),
        ("attack.abs_stepsize", [0.0]),
        ("attack.theta", [0.0, 1.1, float("nan")]),
        ("attack.gamma", [0.0, 1.1]),
        ("attack.momentum", [-0.1]),
        ("attack.epsilons", [[8 / 255, 0.0313725491]]),  # the same six digits: the same file
        ("attack.steps", [0]),
        ("attack.restarts", [0]),
        ("attack.batch_size", [0]),
        ("attack.samples", [0]),
        ("attack.rel_stepsize", [0.0, -0.1]),
        ("attack.mode", ["fast"]),
        ("explanation.target", [""]),
        ("explanation.smooth_samples", [0]),
        ("explanation.smooth_noise", [0.0, -0.1, float("nan")]),
        ("explanation.baseline_draws", [0]),
        ("explanation.integration_steps", [0]),
        ("explanation.occlusion_stride", [0]),
        ("explanation.occlusion_patch", [0, 24]),
        ("explanation.occlusion_fill", [-0.1, 1.1]),
        ("explanation.occlusion_drop", ["loss"]),
        ("explanation.score_maps", [0]),
    ],
)
def test_values_outside_the_limits_are_refused_by_name(key: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(UserError) as error:
            config.from_json(changed(OTHER, key, value))
        assert str(error.value).startswith(f"{key} = ")
        assert "expected" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 0),
        ("seed", 2**31 - 1),
        ("data.image_size", 8),
        ("data.limit", 1),
        ("model.dropout", 0.0),
        ("training.min_delta", 0.0),
        ("training.epoch_fraction", 1.0),
        ("training.focal_gamma", 0.0),
        ("training.class_balanced_beta", 0.0),
        ("training.sampling", "smote"),
        ("training.weight_decay", 0.0),
        ("training.decay_epochs", []),
        ("training.augmix_severity", 10.0),
        ("training.augmix_depth", None),
        ("attack.epsilons", [1.0]),
        ("attack.epsilons", [0.5, 4.0]),
        ("attack.epsilons", [0.1, 0.11]),
    ],
)
def test_the_limits_themselves_are_allowed(key: str, value: Any) -> None:
    found = field(config.from_json(changed(OTHER, key, value)), key)
    assert found == (tuple(value) if isinstance(value, list) else value)


def test_classes_are_not_balanced_twice() -> None:
    with pytest.raises(
        UserError,
        match=r"^training\.class_weights = inverse_frequency: expected "
        r"none, since training\.sampling = oversample",
    ):
        Training(sampling="oversample")


def test_lookup_gives_the_row_and_else_names_near_misses_first() -> None:
    table = {"grad_cam": 1, "saliency": 2, "score_cam": 3}
    assert config.lookup("explanation", table, "saliency") == 2
    with pytest.raises(UserError) as error:
        config.lookup("explanation", table, "gradcam")
    message = "no explanation 'gradcam'; did you mean grad_cam"
    assert str(error.value).startswith(message)
    assert str(error.value).endswith("known: grad_cam, saliency, score_cam")


def test_lookup_of_something_far_off_makes_no_guess() -> None:
    with pytest.raises(UserError) as error:
        config.lookup("head", {"gap": 1}, "transformer")
    assert str(error.value) == "no head 'transformer'; known: gap"


def test_checking_names_setting_value_and_what_was_expected():
    checking.require(True, "a.b", 1, "at least 1")
    with pytest.raises(UserError, match=r"^a\.b = 0: expected at least 1$"):
        checking.require(False, "a.b", 0, "at least 1")


def test_what_the_experiment_leaves_open_stays_open_in_json() -> None:
    attack = json.loads(config.to_json(PLAIN))["attack"]
    assert {attack[name] for name in ("steps", "rel_stepsize", "queries", "theta")} == {None}
    set_ = config.with_settings(PLAIN, ["attack.steps=7", "attack.rel_stepsize=1/4"])
    assert (set_.attack.steps, set_.attack.rel_stepsize) == (7, 0.25)
    assert config.with_settings(set_, ["attack.steps=none", "attack.rel_stepsize="]) == PLAIN


def test_the_json_of_a_run_that_wrote_all_its_numbers_is_read() -> None:
    old = changed(
        PLAIN,
        "attack",
        {
            "name": "apgd_ce",
            "epsilons": [0.01],
            "steps": 40,
            "rel_stepsize": 1 / 30,
            "queries": 5000,
        },
    )
    assert config.from_json(old).attack.steps == 40


def test_another_attack_takes_its_own_settings_unless_they_are_said() -> None:
    given = config.Experiment(
        name="a", data=config.Data("demo"), attack=config.Attack(steps=5, rel_stepsize=0.4)
    )
    other = config.with_settings(given, ["attack.name=autoattack"]).attack
    assert (other.steps, other.rel_stepsize) == (None, None)
    said = config.with_settings(given, ["attack.steps=7", "attack.name=autoattack"]).attack
    assert (said.steps, said.rel_stepsize) == (7, None)
    same = config.with_settings(given, ["attack.name=linf_pgd", "attack.epsilons=0.1"]).attack
    assert (same.steps, same.rel_stepsize) == (5, 0.4)
