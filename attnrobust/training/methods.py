"""METHODS: how a step finds its gradient; a row says all that the rest of the project knows of one.

Read without TensorFlow: a row's function is imported when it is first called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attnrobust import config
from attnrobust.errors import UserError

# (keras.Model, settings) to the same network with its steps; called in the strategy's scope.
Method = Callable[[Any, config.Training], Any]


@dataclass(frozen=True)
class Row:
    """A method of the table.

    Attributes:
        make: The built network to one that trains that way.
        attacked: Whether validation attacks each image; else it looks at clean ones alone.
        norms: Those of `training.inner_norm` that it knows, where these are not all.
        maps: Whether it can train segmenters.
    """

    make: Method
    attacked: bool = True
    norms: Sequence[str] = ()
    maps: bool = False


def standard(network: Any, _: config.Training) -> Any:
    """The loss at the images as they are."""
    return network


def late(module: str, name: str) -> Method:
    """The network with the steps of a class of `attnrobust.training.<module>`."""

    def make(network: Any, setting: config.Training) -> Any:
        kind = getattr(importlib.import_module(f"attnrobust.training.{module}"), name)
        model = kind(network.input, network.output, name=network.name)
        model.configure(setting)
        return model

    return make


METHODS: dict[str, Row] = {
    "standard": Row(standard, attacked=False, maps=True),
    "adversarial": Row(late("adversarial", "Adversarial")),
    "trades": Row(late("adversarial", "Trades")),
    "fast": Row(late("adversarial", "Fast"), norms=("linf",)),
    "augmix": Row(late("augmix", "AugMix"), attacked=False),
    "robust_augmix": Row(late("augmix", "RobustAugMix")),
}


def row_of(setting: config.Training) -> Row:
    """The method's row.

    Raises:
        UserError: No such method, or a norm that it does not know.
    """
    row = config.lookup("training.method", METHODS, setting.method)
    if row.norms and setting.inner_norm not in row.norms:
        raise UserError(
            f"training.inner_norm = {setting.inner_norm}: expected {' or '.join(row.norms)}, the "
            f"norm of training.method = {setting.method}"
        )
    return row
