"""The section `attack`: what is asked of the model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from attnrobust.config.checking import require


def of_the_row() -> Any:
    """A field that is None until `attacks.methods.settled` puts in the value of the attack's row.

    Typed as what it is from then on, since attacks see no other settings.
    """
    return field(default=None, metadata={"optional": True})


# Ends the label of every attack with `outputs=probabilities`, so that no table can leave it out.
THROUGH_SOFTMAX = "-through-softmax"


@dataclass(frozen=True)
class Attack:
    """What is asked of the model.

    What is None is settled by the attack's own row (attnrobust/attacks/methods.py): as published,
    and for the PGD family as in Foolbox, 40 steps of 1/30.

    Attributes:
        name: Row of ATTACKS (attnrobust/attacks/methods.py).
        epsilons: Radii in [0, 1] pixel scale, rising; the clean condition (0) is always added.
        loss: What the PGD family ascends, on logits: row of LOSSES (attnrobust/attacks/losses.py),
            on segmentation of PIXEL_LOSSES (attnrobust/attacks/segmentation/losses.py).
        target: Class to reach (by name), or empty: any but the label.
        steps: Gradient steps, or iterations.
        rel_stepsize: Step size as a share of epsilon.
        abs_stepsize: Step size itself, in units of epsilon's norm; replaces `rel_stepsize`.
        momentum: Decay of the gradients' running mean (`mi_fgsm` only).
        queries: At most so many model calls an image, for attacks without gradients.
        restarts: Independent random starts; an image has fallen when one of them succeeds.
        random_start: Start at a random point of the ball instead of the image.
        batch_size: Images in one pass, over all replicas.
        mode: `carry` (what fell at a smaller epsilon is not attacked again) or `independent`.
        samples: Images of the test split whose adversarials are kept for figures.
        early_stop: An image leaves at the first iterate that has fallen. False: all steps for every
            image, and no first passes; for attacks that look inside a given ball.
        first_passes: Cheaper attacks (rows of FIRST_PASSES, attnrobust/attacks/cheap.py) that the
            PGD family sends ahead; what survives them meets the attack itself.
        theta: Change of a value, in [-1, 1] (`jsma` only).
        gamma: Largest share of an image's values that may change (`jsma` only).
        saliency: Of `logits` or of `probabilities` (`jsma` only).
        aims: Classes gone for, `every` other one or the `likeliest` (`jsma` only).
        step_norm: What the length of a step is measured in: `image_linf` or `batch_l2` (`dag_…`
            only).
        outputs: What the attack sees of the model: `logits`, or `probabilities`, which stock
            Foolbox takes for logits where a model ends in a softmax. A reading of a paper, not a
            measurement of robustness: its label and every page say so.
        scale: What epsilons and `abs_stepsize` are given in: `pixels` or `model_input`, the numbers
            that the backbone's first layer receives. Files and pages have pixels in both cases.
    """

    name: str = "linf_pgd"
    epsilons: tuple[float, ...] = (0.00125, 0.0025, 0.005, 0.01)
    loss: str = "cross_entropy"
    target: str = ""
    steps: int = of_the_row()
    rel_stepsize: float = of_the_row()
    abs_stepsize: float | None = None
    momentum: float = 1.0
    queries: int = of_the_row()
    restarts: int = 1
    random_start: bool = True
    batch_size: int = 32
    mode: str = "carry"
    samples: int = 16
    early_stop: bool = True
    first_passes: tuple[str, ...] = ("one_step",)
    theta: float = of_the_row()
    gamma: float = of_the_row()
    saliency: str = of_the_row()
    aims: str = of_the_row()
    step_norm: str = of_the_row()
    outputs: str = "logits"
    scale: str = "pixels"

    def in_pixels(self, input_scale: float) -> Attack:
        """The same attack with its radii and step size in [0, 1] pixel scale.

        Args:
            input_scale: What 1 in [0, 1] pixels is in the numbers of the model's first layer.
        """
        if self.scale == "pixels":
            return self
        step = self.abs_stepsize
        return replace(
            self,
            scale="pixels",
            epsilons=tuple(epsilon / input_scale for epsilon in self.epsilons),
            abs_stepsize=None if step is None else step / input_scale,
        )

    def labelled(self, label: str = "") -> str:
        """What the attack is called in its run: a label or its name, the reading never left out."""
        own = label or self.name
        plain = self.outputs == "logits" or own.endswith(THROUGH_SOFTMAX)
        return own if plain else own + THROUGH_SOFTMAX

    def stepsize(self, epsilon: float) -> float:
        """Length of one step in a ball of this radius."""
        return self.rel_stepsize * epsilon if self.abs_stepsize is None else self.abs_stepsize

    def __post_init__(self) -> None:
        # Six digits, since files and figures name an epsilon by them.
        rising = list(self.epsilons) == sorted({f"{e:g}": e for e in self.epsilons}.values())
        require(
            bool(self.epsilons) and rising,
            "attack.epsilons",
            self.epsilons,
            "at least one, rising, none twice",
        )
        # At most 1 for L-inf: the sweep knows the norm.
        require(
            all(e > 0 for e in self.epsilons),
            "attack.epsilons",
            self.epsilons,
            "above 0, in [0, 1] pixel scale (8/255 is fine)",
        )
        for name in ("steps", "queries", "restarts", "batch_size", "samples"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"attack.{name}", value, "at least 1")
        for name in ("rel_stepsize", "abs_stepsize"):
            value = getattr(self, name)
            require(value is None or value > 0, f"attack.{name}", value, "above 0")
        # It stands still on confident models: never without the reading's mark.
        marked = self.loss != "foolbox_cross_entropy" or self.outputs == "probabilities"
        require(marked, "attack.loss", self.loss, "cross_entropy, where attack.outputs = logits")
        require(
            self.outputs in ("logits", "probabilities"),
            "attack.outputs",
            self.outputs,
            "logits or probabilities",
        )
        require(
            self.scale in ("pixels", "model_input"),
            "attack.scale",
            self.scale,
            "pixels or model_input",
        )
        require(self.momentum >= 0, "attack.momentum", self.momentum, "at least 0")
        require(
            self.theta is None or 0 < abs(self.theta) <= 1,
            "attack.theta",
            self.theta,
            "in [-1, 1], not 0",
        )
        require(self.gamma is None or 0 < self.gamma <= 1, "attack.gamma", self.gamma, "in (0, 1]")
        require(
            self.mode in ("carry", "independent"), "attack.mode", self.mode, "carry or independent"
        )
