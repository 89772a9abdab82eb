"""The compiled engine: Foolbox's gradient attacks with the gradient as one compiled step.

Foolbox keeps its loop, projection, clipping and criterion; only three hooks are filled: the
gradient (compiled, spread over replicas), the loss it belongs to, and the random start (stateless,
so that a result does not depend on batches, replicas or a resume).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
import tensorflow as tf
from foolbox.attacks.gradient_descent_base import BaseGradientDescent

from attnrobust.attacks import losses
from attnrobust.models.replicas import Replicas
from attnrobust.training import ball

BOUNDS = (0.0, 1.0)
Gradient = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def foolbox_model(replicas: Replicas) -> foolbox.models.TensorFlowModel:
    """The model as Foolbox sees it: images in [0, 1] to logits, compiled."""
    return foolbox.models.TensorFlowModel(replicas.forward, bounds=BOUNDS, device="/CPU:0")


def loss_gradient(
    replicas: Replicas, loss: str = "cross_entropy", target: int | None = None
) -> Gradient:
    """Compiled `(images, labels) -> (loss (N,), gradient (N, H, W, 3))` of what is ascended.

    Losses are summed, not averaged, as in Foolbox, so that an image's gradient does not depend on
    its batch.

    Raises:
        UserError: Too few classes for the loss.
    """
    function = losses.of(loss, classes=replicas.model.output_shape[-1], target=target)

    def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            value = function(replicas.model(images, training=False), labels, target)
        return value, tape.gradient(value, images, unconnected_gradients=losses.NONE_IS_ZERO)

    made: Gradient = replicas.once(("gradient", loss, target), lambda: replicas.map(step))
    return made


class Compiled(BaseGradientDescent):
    """Foolbox's gradient descent on a compiled gradient; mixed in before one of its attacks.

    Args:
        ascend: Images to the gradient (N, H, W, 3) that is to be ascended.
        start: Random start of the unit ball (N, H, W, 3), in units of epsilon; None starts at the
            image.
        settings: Of the attack itself.
    """

    def __init__(
        self,
        *,
        ascend: Callable[[tf.Tensor], tf.Tensor],
        start: np.ndarray | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(random_start=start is not None, **settings)
        self.ascend = ascend
        self.start = start

    def run(self, model: Any, inputs: Any, criterion: Any, **settings: Any) -> Any:
        """Foolbox's loop, which descends for a targeted criterion what it is given to ascend."""
        # Foolbox has made a criterion of the labels by now.
        self.sign = -1.0 if hasattr(criterion, "target_classes") else 1.0
        return super().run(model, inputs, criterion, **settings)

    def get_loss_fn(self, model: Any, labels: ep.Tensor) -> Any:
        """Nothing: the compiled gradient holds the loss."""
        del model, labels

    def value_and_grad(self, loss_fn: Any, x: ep.Tensor) -> tuple[Any, ep.Tensor]:
        """The gradient by the compiled step; Foolbox drops the value."""
        return None, ep.astensor(self.sign * self.ascend(x.raw))

    def get_random_start(self, x0: ep.Tensor, epsilon: float) -> ep.Tensor:
        """The start given, at this epsilon."""
        return x0 + epsilon * ep.astensor(tf.constant(self.start, x0.raw.dtype))


class CompiledLinfPGD(Compiled, foolbox.attacks.LinfPGD):
    """Projected gradient ascent in the L-inf ball (Madry et al. 2018)."""


class CompiledL2(Compiled):
    """One whose steps are unit vectors; Foolbox's come out shorter below a length of 1e-12."""

    def normalize(self, gradients: ep.Tensor, *, x: ep.Tensor, bounds: Any) -> ep.Tensor:
        """Each image's gradient divided by its L2 norm."""
        del x, bounds
        return ep.astensor(ball.unit(gradients.raw, "l2"))


class CompiledL2PGD(CompiledL2, foolbox.attacks.L2PGD):
    """Projected gradient ascent in the L2 ball (Madry et al. 2018)."""


class CompiledBIM(Compiled, foolbox.attacks.LinfBasicIterativeAttack):
    """Basic iterative method (Kurakin et al. 2016): signed steps from the image itself."""


class CompiledFGSM(Compiled, foolbox.attacks.LinfFastGradientAttack):
    """Fast gradient sign method (Goodfellow et al. 2015): one signed step to the edge."""


class CompiledL2FGM(CompiledL2, foolbox.attacks.L2FastGradientAttack):
    """Fast gradient method in the L2 ball: one step to the edge."""


class CompiledMIFGSM(Compiled, foolbox.attacks.LinfMomentumIterativeFastGradientMethod):
    """Momentum iterative FGSM (Dong et al. 2018, equations 6 and 7).

    Foolbox 3.3.4 sums signs of gradients; the paper sums gradients divided by their L1 norm, as is
    done here. Sums of signs are often 0, and such a pixel would stand still.
    """

    def normalize(self, gradients: ep.Tensor, *, x: ep.Tensor, bounds: Any) -> ep.Tensor:
        """Each image's gradient divided by its L1 norm."""
        del x, bounds
        return ep.astensor(ball.unit(gradients.raw, "l1"))
