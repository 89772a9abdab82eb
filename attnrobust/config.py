"""All that an experiment can say: frozen dataclasses, JSON in and out, typed `--set key=value`."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from attnrobust.errors import UserError

Row = TypeVar("Row")

# Attacks whose `steps` times step size must reach the edge of the ball; the report, which starts
# without TensorFlow, cannot look into ATTACKS.
STEPPED = ("linf_pgd", "l2_pgd", "bim", "mi_fgsm")


@dataclass(frozen=True)
class Data:
    """Which records, at which size.

    Attributes:
        dataset: Name of the folder below the records root (`tfrecords/shards/<dataset>`).
        image_size: Height and width in pixels of what the model sees.
        limit: At most this many examples of every split (None: all), for smoke runs.
        task: Which of the tasks that the records describe (their own classes where empty).
        folds: Parts that the train split is cut into, no group torn apart (0: not at all); the
            stored validation split is not used then (attnrobust/data/folds.py).
        fold: The part that validation takes, from 0; training takes the others.
    """

    dataset: str
    image_size: int = 224
    limit: int | None = None
    task: str = ""
    folds: int = 0
    fold: int = 0

    def __post_init__(self) -> None:
        _require(self.image_size >= 8, "data.image_size", self.image_size, "at least 8")
        _require(self.limit is None or self.limit >= 1, "data.limit", self.limit, "at least 1")
        _require(self.folds == 0 or self.folds >= 2, "data.folds", self.folds, "0 or at least 2")
        most = max(self.folds, 1) - 1
        _require(0 <= self.fold <= most, "data.fold", self.fold,
                 f"0 to {most}, data.folds being {self.folds}")  # fmt: skip


@dataclass(frozen=True)
class Model:
    """Backbone, cut, head and starting weights.

    Attributes:
        backbone: Row of BACKBONES (attnrobust/models/backbones.py).
        head: Row of HEADS (attnrobust/models/heads.py).
        weights: `imagenet`, `none`, or a path to a Keras weights file (.h5).
        width: Width multiplier (MobileNet's alpha, filters of `resnet18`); 1 elsewhere.
        cut: Where the head is put on, by name: `full` or `literal` (see BACKBONES).
        variant: Reading of the soft-attention layer: `paper` or `literal` (see heads.py).
        maps: Number K of attention maps.
        gamma: Start of the learnable scale of the attended map (`paper` variant only).
        dropout: Dropout rate before the last layer, for heads that have one.
    """

    backbone: str = "resnet50"
    head: str = "gap"
    weights: str = "imagenet"
    width: float = 1.0
    cut: str = "full"
    variant: str = "paper"
    maps: int = 16
    gamma: float = 0.01
    dropout: float = 0.5

    def __post_init__(self) -> None:
        _require(self.width > 0, "model.width", self.width, "above 0")
        _require(self.maps >= 1, "model.maps", self.maps, "at least 1")
        _require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")
        _require(self.variant in ("paper", "literal"), "model.variant", self.variant,
                 "paper or literal")  # fmt: skip
        _require(self.cut in ("full", "literal"), "model.cut", self.cut, "full or literal")


@dataclass(frozen=True)
class Training:
    """How the weights are found; the defaults are those of Wasserman, section 3.3.

    Attributes:
        epochs: At most this many.
        batch_size: Global batch size, over all replicas.
        learning_rate: In the first epoch.
        adam_epsilon: Of Adam; the paper's 0.1 makes it nearly momentum SGD.
        optimizer: Row of OPTIMIZERS (attnrobust/training/optimizers.py): `adam` or `sgd` (momentum
            0.9).
        weight_decay: Decoupled: each step takes learning rate * this * weight off every weight.
        schedule: Row of SCHEDULES (same file), how the learning rate goes on from epoch to epoch:
            `constant`, `cosine` (towards 0 after `epochs`) or `step`.
        decay_epochs: Numbers of finished epochs after each of which `step` divides it by 10.
        head_epochs: In so many epochs at first the head learns alone, at `head_learning_rate`; then
            `groups` do, with a new optimizer. They count among `epochs` and in `decay_epochs`, not
            towards `patience`.
        head_learning_rate: Of those epochs.
        groups: How many layer groups learn, the head and then from the last tap of the backbone on
            (see BACKBONES) towards the image; None: all.
        class_weights: `inverse_frequency` or `none`.
        patience: Epochs without improvement of the validation loss before training stops.
        min_delta: What counts as an improvement of the validation loss.
        epoch_fraction: Share of the training examples that an epoch sees (0.1 on HAM10000).
        augmentation: Rows of AUGMENTATIONS (attnrobust/data/inputs.py), in this order.
        corruptions: Rows of CORRUPTIONS (attnrobust/corruptions), put on the training images before
            the augmentation: in each epoch one of them an image, at a severity from 0 (none) to 5.
        precision: Of the layers while training: `float32`, `bfloat16` or `float16` (with loss
            scaling). Weights and logits stay float32; predict and attack always use float32.
        method: Row of METHODS (attnrobust/training/methods.py), which says what each does. All that
            follows is for methods other than `standard`.
        inner_norm: Of the ball in which a step looks for adversarials: `linf` or `l2`.
        inner_epsilon: Its radius in [0, 1] pixel scale.
        inner_steps: Gradient steps of the attack in each training step, and in validation.
        inner_rel_stepsize: Their size as a share of `inner_epsilon`.
        inner_abs_stepsize: Their size itself, in units of the norm; replaces the share.
        inner_batchnorm: While crafting: `inference` (the averages) or `training` (the batch's own
            statistics, and dropout); the averages stay what they were in both.
        clean_share: Share of the clean images' loss in the whole (`adversarial`, `fast`): 0, the
            adversarial images alone, to 1.
        trades_beta: Weight of the divergence in `trades`.
        jsd_weight: Weight of the Jensen-Shannon divergence (`augmix`, `robust_augmix`, as all that
            begins with augmix).
        augmix_operations: Rows of OPERATIONS (attnrobust/training/mixing.py) that chains draw from.
        augmix_severity: Of them, 0.1 to 10: each draws its level between 0.1 and this.
        augmix_width: Number of chains.
        augmix_depth: Operations in a chain (None: 1 to 3, at random).
        augmix_alpha: Of Dirichlet and Beta, which the mixing weights are drawn from.
        validation_share: Share of the validation images, evenly spread, that validation looks at
            where it attacks each one (not `augmix`).
    """

    epochs: int = 300
    batch_size: int = 32
    learning_rate: float = 0.01
    adam_epsilon: float = 0.1
    optimizer: str = "adam"
    weight_decay: float = 0.0
    schedule: str = "constant"
    decay_epochs: tuple[int, ...] = (15,)
    head_epochs: int = 0
    head_learning_rate: float = 1e-3
    groups: int | None = None
    class_weights: str = "inverse_frequency"
    patience: int = 40
    min_delta: float = 0.001
    epoch_fraction: float = 1.0
    augmentation: tuple[str, ...] = ("flip", "rotate", "zoom", "shift")
    corruptions: tuple[str, ...] = ()
    precision: str = "float32"
    method: str = "standard"
    inner_norm: str = "linf"
    inner_epsilon: float = 2 / 255
    inner_steps: int = 7
    inner_rel_stepsize: float = 0.25
    inner_abs_stepsize: float | None = None
    inner_batchnorm: str = "inference"
    clean_share: float = 0.0
    trades_beta: float = 6.0
    jsd_weight: float = 12.0
    augmix_operations: tuple[str, ...] = (
        "autocontrast", "equalize", "posterize", "rotate", "solarize", "shear_x", "shear_y",
        "translate_x", "translate_y",
    )  # fmt: skip
    augmix_severity: float = 3.0
    augmix_width: int = 3
    augmix_depth: int | None = None
    augmix_alpha: float = 1.0
    validation_share: float = 1.0

    @property
    def inner_stepsize(self) -> float:
        """Length of a step of the inner attack."""
        if self.inner_abs_stepsize is None:
            return self.inner_rel_stepsize * self.inner_epsilon
        return self.inner_abs_stepsize

    def __post_init__(self) -> None:
        self._require_inner()
        self._require_augmix()
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            _require(value >= 1, f"training.{name}", value, "at least 1")
        for name in ("learning_rate", "adam_epsilon", "head_learning_rate"):
            _require(getattr(self, name) > 0, f"training.{name}", getattr(self, name), "above 0")
        _require(0 <= self.head_epochs < self.epochs, "training.head_epochs", self.head_epochs,
                 f"at least 0 and below training.epochs, {self.epochs}")  # fmt: skip
        _require(self.groups is None or self.groups >= 1, "training.groups", self.groups,
                 "at least 1")  # fmt: skip
        for name in ("min_delta", "weight_decay"):
            _require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name),
                     "at least 0")  # fmt: skip
        rising = list(self.decay_epochs) == sorted(set(self.decay_epochs))
        _require(rising and all(epoch >= 1 for epoch in self.decay_epochs),
                 "training.decay_epochs", self.decay_epochs,
                 "numbers of epochs from 1 on, rising, none twice")  # fmt: skip
        _require(0 < self.epoch_fraction <= 1, "training.epoch_fraction", self.epoch_fraction,
                 "in (0, 1]")  # fmt: skip
        _require(self.precision in ("float32", "bfloat16", "float16"), "training.precision",
                 self.precision, "float32, bfloat16 or float16")  # fmt: skip
        _require(self.class_weights in ("inverse_frequency", "none"), "training.class_weights",
                 self.class_weights, "inverse_frequency or none")  # fmt: skip

    def _require_augmix(self) -> None:
        _require(self.jsd_weight >= 0, "training.jsd_weight", self.jsd_weight, "at least 0")
        _require(bool(self.augmix_operations), "training.augmix_operations",
                 self.augmix_operations, "at least one")  # fmt: skip
        _require(0.1 <= self.augmix_severity <= 10, "training.augmix_severity",
                 self.augmix_severity, "in [0.1, 10]")  # fmt: skip
        for name in ("augmix_width", "augmix_depth"):
            value = getattr(self, name)
            _require(value is None or value >= 1, f"training.{name}", value, "at least 1")
        _require(self.augmix_alpha > 0, "training.augmix_alpha", self.augmix_alpha, "above 0")

    def _require_inner(self) -> None:
        _require(self.inner_norm in ("linf", "l2"), "training.inner_norm", self.inner_norm,
                 "linf or l2")  # fmt: skip
        _require(self.method != "fast" or self.inner_norm == "linf", "training.inner_norm",
                 self.inner_norm, "linf, the norm of training.method = fast")  # fmt: skip
        # At 0.5 every image can be made grey: mostly 8 for 8/255.
        most = 0.5 if self.inner_norm == "linf" else math.inf
        _require(0 < self.inner_epsilon < most, "training.inner_epsilon", self.inner_epsilon,
                 "above 0" + (", below 0.5 (8/255 is fine)" if most == 0.5 else ""))  # fmt: skip
        _require(self.inner_steps >= 1, "training.inner_steps", self.inner_steps, "at least 1")
        for name in ("inner_rel_stepsize", "inner_abs_stepsize"):
            value = getattr(self, name)
            _require(value is None or value > 0, f"training.{name}", value, "above 0")
        reach = self.inner_steps * self.inner_stepsize / self.inner_epsilon
        _require(reach > 1 - 1e-6, "training.inner_steps", self.inner_steps,
                 f"enough to reach the edge of the ball, not {reach:.2g} of the way")  # fmt: skip
        _require(self.inner_batchnorm in ("inference", "training"), "training.inner_batchnorm",
                 self.inner_batchnorm, "inference or training")  # fmt: skip
        _require(0 <= self.clean_share <= 1, "training.clean_share", self.clean_share, "in [0, 1]")
        _require(self.trades_beta >= 0, "training.trades_beta", self.trades_beta, "at least 0")
        _require(0 < self.validation_share <= 1, "training.validation_share",
                 self.validation_share, "in (0, 1]")  # fmt: skip


@dataclass(frozen=True)
class Attack:
    """What is asked of the model; the PGD defaults are Foolbox's own.

    Attributes:
        name: Row of ATTACKS (attnrobust/attacks/methods.py).
        epsilons: Radii in [0, 1] pixel scale, rising; the clean condition (0) is always added.
        loss: What a gradient attack ascends, on logits: `cross_entropy`, `margin` (best wrong logit
            minus the label's) or `dlr` (at least 3 classes, Croce and Hein 2020).
        target: Class to reach (by name), or empty: any but the label.
        steps: Gradient steps.
        rel_stepsize: Step size as a share of epsilon.
        abs_stepsize: Step size itself, in units of epsilon's norm; replaces `rel_stepsize`.
        momentum: Decay of the gradients' running mean (`mi_fgsm` only).
        queries: At most so many model calls an image, for attacks without gradients.
        restarts: Independent random starts; an image has fallen when one of them succeeds.
        random_start: Start at a random point of the ball instead of the image.
        batch_size: Images in one pass, over all replicas.
        mode: `carry` (what fell at a smaller epsilon is not attacked again) or `independent`.
        samples: Images of the test split whose adversarials are kept for figures.
        early_stop: An image leaves the PGD family at the first iterate that has fallen. False:
            Foolbox's loop, all steps for every image, and no first passes.
        first_passes: Cheaper attacks (rows of FIRST_PASSES, attnrobust/attacks/cheap.py) that the
            PGD family sends ahead; what survives them meets the attack itself.
    """

    name: str = "linf_pgd"
    epsilons: tuple[float, ...] = (0.00125, 0.0025, 0.005, 0.01)
    loss: str = "cross_entropy"
    target: str = ""
    steps: int = 40
    rel_stepsize: float = 1 / 30
    abs_stepsize: float | None = None
    momentum: float = 1.0
    queries: int = 5000
    restarts: int = 1
    random_start: bool = True
    batch_size: int = 32
    mode: str = "carry"
    samples: int = 16
    early_stop: bool = True
    first_passes: tuple[str, ...] = ("one_step",)

    def stepsize(self, epsilon: float) -> float:
        """Length of one step in a ball of this radius."""
        return self.rel_stepsize * epsilon if self.abs_stepsize is None else self.abs_stepsize

    @property
    def reach(self) -> float:
        """How far all steps together can go in the largest ball, in units of its epsilon.

        Below 1 an attack that starts at the image cannot reach the edge of its own ball, and
        robust accuracy comes out too high: Foolbox's default step size with 10 steps reaches 1/3.
        Infinite for an attack that does not go by `steps` and a step size.
        """
        if self.name not in STEPPED:
            return math.inf
        return self.steps * self.stepsize(self.epsilons[-1]) / self.epsilons[-1]

    def __post_init__(self) -> None:
        # Six digits, since files and figures name an epsilon by them.
        rising = list(self.epsilons) == sorted({f"{e:g}": e for e in self.epsilons}.values())
        _require(bool(self.epsilons) and rising, "attack.epsilons", self.epsilons,
                 "at least one, rising, none twice")  # fmt: skip
        # At most 1 for L-inf: the sweep knows the norm.
        _require(all(e > 0 for e in self.epsilons), "attack.epsilons", self.epsilons,
                 "above 0, in [0, 1] pixel scale (8/255 is fine)")  # fmt: skip
        _require(self.loss in ("cross_entropy", "margin", "dlr"), "attack.loss", self.loss,
                 "cross_entropy, margin or dlr")  # fmt: skip
        for name in ("steps", "queries", "restarts", "batch_size", "samples"):
            value = getattr(self, name)
            _require(value >= 1, f"attack.{name}", value, "at least 1")
        _require(self.rel_stepsize > 0, "attack.rel_stepsize", self.rel_stepsize, "above 0")
        _require(self.abs_stepsize is None or self.abs_stepsize > 0, "attack.abs_stepsize",
                 self.abs_stepsize, "above 0")  # fmt: skip
        _require(self.momentum >= 0, "attack.momentum", self.momentum, "at least 0")
        _require(self.mode in ("carry", "independent"), "attack.mode", self.mode,
                 "carry or independent")  # fmt: skip


@dataclass(frozen=True)
class Corruptions:
    """What the test images are put through, beside the clean condition.

    Attributes:
        names: Rows of CORRUPTIONS (attnrobust/corruptions); none by default.
        severities: Of 1 to 5.
    """

    names: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)

    def __post_init__(self) -> None:
        known = bool(self.severities) and set(self.severities) <= {1, 2, 3, 4, 5}
        _require(known, "corruptions.severities", self.severities, "of 1 to 5")


@dataclass(frozen=True)
class Checks:
    """How hard the sanity checks of an attack look (attnrobust/attacks/sanity.py).

    Attributes:
        samples: At most so many test images are attacked again.
        draws: Of random noise an image.
        queries: Of the black-box attack an image.
    """

    samples: int = 100
    draws: int = 10
    queries: int = 500

    def __post_init__(self) -> None:
        for name in ("samples", "draws", "queries"):
            value = getattr(self, name)
            _require(value >= 1, f"checks.{name}", value, "at least 1")


@dataclass(frozen=True)
class Explanation:
    """Which heatmaps are made, for the sample images of the attack stage.

    Attributes:
        methods: Rows of EXPLANATIONS (attnrobust/explanations/methods.py).
        layer: Layer whose feature map is explained; `features` is the map the head receives.
        target: Class that is explained: the model's own `prediction` on each image, or the `label`.
    """

    methods: tuple[str, ...] = ("grad_cam",)
    layer: str = "features"
    target: str = "prediction"

    def __post_init__(self) -> None:
        _require(self.target in ("prediction", "label"), "explanation.target", self.target,
                 "prediction or label")  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """One row of a study: data, model, training, corruptions, attack, checks, explanation, seed."""

    name: str
    data: Data
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    corruptions: Corruptions = field(default_factory=Corruptions)
    attack: Attack = field(default_factory=Attack)
    checks: Checks = field(default_factory=Checks)
    explanation: Explanation = field(default_factory=Explanation)
    seed: int = 0

    def __post_init__(self) -> None:
        for key, value in (("name", self.name), ("data.dataset", self.data.dataset)):
            safe = value and all(c.isalnum() or c in "_-." for c in value) and value[0] != "."
            _require(bool(safe), key, value, "letters, digits, _ - . (it names a folder)")
        _require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2147483647")


def to_json(experiment: Experiment) -> str:
    """The experiment as JSON text; `from_json` gives an equal one back."""
    return json.dumps(dataclasses.asdict(experiment), indent=2)


def from_json(text: str) -> Experiment:
    """An experiment from `to_json`'s text.

    Raises:
        UserError: Not JSON; unknown field, wrong type or value out of range, by name.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON ({error})") from None
    return typing.cast(Experiment, _build(Experiment, values, where=""))


def with_settings(experiment: Experiment, settings: Iterable[str]) -> Experiment:
    """A copy with `key=value` settings put in, for example `training.epochs=2`.

    Values are read by the field's type; tuples are comma-separated; floats may be fractions
    such as `8/255`; `none` stands for None where the field allows it.

    Raises:
        UserError: No `=`, unknown field (with the known ones), value of another type.
    """
    values = dataclasses.asdict(experiment)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: expected key=value, such as training.epochs=2")
        *sections, name = key.split(".")
        node, kind, where = values, typing.cast(type, Experiment), ""
        for section in sections:
            hint = _hints(kind, section, where)
            if not dataclasses.is_dataclass(hint):
                raise UserError(f"--set {key}: '{section}' holds no fields")
            node, kind, where = node[section], typing.cast(type, hint), section
        hint = _hints(kind, name, where)
        if dataclasses.is_dataclass(hint):
            fields = ", ".join(f"{name}.{f.name}" for f in dataclasses.fields(hint))
            raise UserError(f"--set {key}: name one of its fields: {fields}")
        node[name] = _parse(text, hint, key)
    return from_json(json.dumps(values))


def lookup(kind: str, table: Mapping[str, Row], name: str) -> Row:
    """The row called `name`.

    Raises:
        UserError: No such row; the message lists the known names, near misses first.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UserError(f"no {kind} '{name}'; {hint}known: {', '.join(table)}")


def _require(holds: bool, key: str, value: object, expected: str) -> None:
    if not holds:
        raise UserError(f"{key} = {value}: expected {expected}")


def _hints(kind: type, name: str, where: str) -> Any:
    hints = typing.get_type_hints(kind)
    if name not in hints:
        owner = f" in {where}" if where else ""
        raise UserError(f"no field '{name}'{owner}; known: {', '.join(hints)}")
    return hints[name]


def _options(hint: Any) -> tuple[list[Any], bool]:
    """The types of a hint, and whether None is one of them."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return [part for part in parts if part is not type(None)], type(None) in parts


def _parse(text: str, hint: Any, key: str) -> Any:
    (kind, *_), optional = _options(hint)
    if optional and text.lower() in ("none", ""):
        return None
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        return [_parse(part.strip(), inner, key) for part in text.split(",") if part.strip()]
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if kind is float and "/" in text:
            over, under = text.split("/")
            return float(over) / float(under)
        return kind(text)
    except (ValueError, KeyError, ZeroDivisionError):
        raise UserError(f"--set {key}={text}: expected {kind.__name__}") from None


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise UserError(f"{where or 'experiment'} = {values!r}: expected fields with values")
    arguments = {}
    for name, value in values.items():
        hint = _hints(kind, name, where)
        key = f"{where}.{name}" if where else name
        if dataclasses.is_dataclass(hint):
            arguments[name] = _build(typing.cast(type, hint), value, name)
        else:
            arguments[name] = _typed(value, hint, key)
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.name not in arguments
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where or 'experiment'}: missing field {', '.join(missing)}")
    return kind(**arguments)


def _typed(value: Any, hint: Any, key: str) -> Any:
    (kind, *_), optional = _options(hint)
    if value is None and optional:
        return None
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_typed(part, typing.get_args(kind)[0], key) for part in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # A bool is an int to isinstance, but true is no number of epochs.
    alike = isinstance(value, bool) == (kind is bool)
    if isinstance(kind, type) and isinstance(value, kind) and alike:
        return value
    raise UserError(f"{key} = {value!r}: expected {getattr(kind, '__name__', kind)}")
