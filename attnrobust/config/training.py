"""How weights are found: the `training` section."""

from __future__ import annotations

import math
from dataclasses import dataclass

from attnrobust.config.checking import require


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
            `constant`, `cosine` (towards 0 after `epochs`), `step` or `plateau`.
        decay_epochs: Numbers of finished epochs after each of which `step` divides it by 10.
        head_epochs: In so many epochs at first the head learns alone, at `head_learning_rate`; then
            `groups` do, with a new optimizer. They count among `epochs` and in `decay_epochs`, not
            towards `patience`.
        head_learning_rate: Of those epochs.
        groups: How many layer groups learn, the head and then from the last tap of the backbone on
            (see BACKBONES) towards the image; None: all.
        loss: Row of LOSSES (attnrobust/training/losses.py): `cross_entropy` or `focal`, which takes
            the cross-entropy's place in what every method learns and is validated by; attacks
            inside go on ascending the cross-entropy.
        focal_gamma: Of `focal`, at least 0: 0 is the cross-entropy, more gives less weight to
            images that are right with confidence.
        class_weights: Row of CLASS_WEIGHTS (same file): `inverse_frequency`, `effective_number` or
            `none`.
        class_balanced_beta: Of `effective_number`, in [0, 1): 0 weighs all classes equally, towards
            1 it becomes the inverse frequency.
        sampling: Row of SAMPLING (attnrobust/data/sampling.py): `none`, `oversample` (every class
            as often as the commonest, by repetition) or `smote` (the same, by mixtures of two
            images of a class); both let an epoch grow to the number of classes times the commonest.
        start: Experiment on the same data set whose run with the same seed, beside this one, gives
            the starting weights (empty: `model.weights` does).
        patience: Epochs without improvement of the validation loss before training stops.
        min_delta: What counts as an improvement of the validation loss.
        epoch_fraction: Share of the training examples that an epoch sees (0.1 on HAM10000).
        augmentation: Rows of AUGMENTATIONS (attnrobust/data/augmentation.py), in this order.
        corruptions: Rows of CORRUPTIONS (attnrobust/corruptions), put on the training images before
            the augmentation: in each epoch one of them an image, at a severity from 0 (none) to 5.
        precision: Of the layers while training: `float32`, `bfloat16` or `float16` (with loss
            scaling). Weights and logits stay float32; predict and attack always use float32.
        tf32: While training, Ampere and newer GPUs may round what float32 convolutions and matrix
            products take in to 10 bits (TensorFloat-32, TensorFlow's default). What is measured
            afterwards never is.
        method: Row of METHODS (attnrobust/training/methods.py), which says what each does. All that
            follows is for methods other than `standard`.
        inner_norm: Of the ball in which a step looks for adversarials: `linf` or `l2`.
        inner_epsilon: Its radius in [0, 1] pixel scale.
        inner_steps: Gradient steps of the attack in each training step, and in validation.
        inner_rel_stepsize: Their size as a share of `inner_epsilon`.
        inner_abs_stepsize: Their size itself, in units of the norm; replaces the share.
        inner_batchnorm: While crafting: `inference` (the averages) or `training` (the batch's own
            statistics, and dropout); the averages stay what they were in both. `inference` attacks
            the network that will be used, while the step learns in training mode: where robust
            accuracy is far higher in training than in validation, the attack does not reach it.
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
        plateau_epochs: Epochs in a row without a better validation loss after which the schedule
            `plateau` divides the learning rate by 10, and again after as many more.
        batchnorm_momentum: What every BatchNorm keeps of its averages at a step, in [0, 1); None:
            the backbone's own, 0.99 in those of keras.applications. Small sets want less: with 16
            steps an epoch it takes 0.99 about ten epochs to leave the starting weights' averages,
            and until then validation, and every attack inside training, see another network than
            the one that learns.
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
    loss: str = "cross_entropy"
    focal_gamma: float = 2.0
    class_weights: str = "inverse_frequency"
    class_balanced_beta: float = 0.99
    sampling: str = "none"
    start: str = ""
    patience: int = 40
    min_delta: float = 0.001
    epoch_fraction: float = 1.0
    augmentation: tuple[str, ...] = ("flip", "rotate", "zoom", "shift")
    corruptions: tuple[str, ...] = ()
    precision: str = "float32"
    tf32: bool = True
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
        "autocontrast",
        "equalize",
        "posterize",
        "rotate",
        "solarize",
        "shear_x",
        "shear_y",
        "translate_x",
        "translate_y",
    )
    augmix_severity: float = 3.0
    augmix_width: int = 3
    augmix_depth: int | None = None
    augmix_alpha: float = 1.0
    validation_share: float = 1.0
    plateau_epochs: int = 5
    batchnorm_momentum: float | None = None

    @property
    def inner_stepsize(self) -> float:
        """Length of a step of the inner attack."""
        if self.inner_abs_stepsize is None:
            return self.inner_rel_stepsize * self.inner_epsilon
        return self.inner_abs_stepsize

    def __post_init__(self) -> None:
        self._require_inner()
        self._require_augmix()
        self._require_balance()
        for name in ("epochs", "batch_size", "patience", "plateau_epochs"):
            value = getattr(self, name)
            require(value >= 1, f"training.{name}", value, "at least 1")
        for name in ("learning_rate", "adam_epsilon", "head_learning_rate"):
            require(getattr(self, name) > 0, f"training.{name}", getattr(self, name), "above 0")
        require(
            0 <= self.head_epochs < self.epochs,
            "training.head_epochs",
            self.head_epochs,
            f"at least 0 and below training.epochs, {self.epochs}",
        )
        require(
            self.groups is None or self.groups >= 1, "training.groups", self.groups, "at least 1"
        )
        momentum = self.batchnorm_momentum
        require(
            momentum is None or 0 <= momentum < 1,
            "training.batchnorm_momentum",
            momentum,
            "in [0, 1)",
        )
        for name in ("min_delta", "weight_decay"):
            require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "at least 0")
        rising = list(self.decay_epochs) == sorted(set(self.decay_epochs))
        require(
            rising and all(epoch >= 1 for epoch in self.decay_epochs),
            "training.decay_epochs",
            self.decay_epochs,
            "numbers of epochs from 1 on, rising, none twice",
        )
        require(
            0 < self.epoch_fraction <= 1,
            "training.epoch_fraction",
            self.epoch_fraction,
            "in (0, 1]",
        )
        require(
            self.precision in ("float32", "bfloat16", "float16"),
            "training.precision",
            self.precision,
            "float32, bfloat16 or float16",
        )

    def _require_balance(self) -> None:
        require(self.focal_gamma >= 0, "training.focal_gamma", self.focal_gamma, "at least 0")
        require(
            0 <= self.class_balanced_beta < 1,
            "training.class_balanced_beta",
            self.class_balanced_beta,
            "in [0, 1)",
        )
        require(
            self.sampling == "none" or self.class_weights == "none",
            "training.class_weights",
            self.class_weights,
            f"none, since training.sampling = {self.sampling} balances the classes already",
        )
        safe = all(c.isalnum() or c in "_-." for c in self.start) and self.start[:1] != "."
        require(safe, "training.start", self.start, "the name of an experiment, or nothing")

    def _require_augmix(self) -> None:
        require(self.jsd_weight >= 0, "training.jsd_weight", self.jsd_weight, "at least 0")
        require(
            bool(self.augmix_operations),
            "training.augmix_operations",
            self.augmix_operations,
            "at least one",
        )
        require(
            0.1 <= self.augmix_severity <= 10,
            "training.augmix_severity",
            self.augmix_severity,
            "in [0.1, 10]",
        )
        for name in ("augmix_width", "augmix_depth"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"training.{name}", value, "at least 1")
        require(self.augmix_alpha > 0, "training.augmix_alpha", self.augmix_alpha, "above 0")

    def _require_inner(self) -> None:
        require(
            self.inner_norm in ("linf", "l2"), "training.inner_norm", self.inner_norm, "linf or l2"
        )
        # At 0.5 every image can be made grey: mostly 8 for 8/255.
        most = 0.5 if self.inner_norm == "linf" else math.inf
        require(
            0 < self.inner_epsilon < most,
            "training.inner_epsilon",
            self.inner_epsilon,
            "above 0" + (", below 0.5 (8/255 is fine)" if most == 0.5 else ""),
        )
        require(self.inner_steps >= 1, "training.inner_steps", self.inner_steps, "at least 1")
        for name in ("inner_rel_stepsize", "inner_abs_stepsize"):
            value = getattr(self, name)
            require(value is None or value > 0, f"training.{name}", value, "above 0")
        reach = self.inner_steps * self.inner_stepsize / self.inner_epsilon
        require(
            reach > 1 - 1e-6,
            "training.inner_steps",
            self.inner_steps,
            f"enough to reach the edge of the ball, not {reach:.2g} of the way",
        )
        require(
            self.inner_batchnorm in ("inference", "training"),
            "training.inner_batchnorm",
            self.inner_batchnorm,
            "inference or training",
        )
        require(0 <= self.clean_share <= 1, "training.clean_share", self.clean_share, "in [0, 1]")
        require(self.trades_beta >= 0, "training.trades_beta", self.trades_beta, "at least 0")
        require(
            0 < self.validation_share <= 1,
            "training.validation_share",
            self.validation_share,
            "in (0, 1]",
        )
