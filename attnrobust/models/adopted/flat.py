"""A model of nested models, called again on another input as one flat model.

Tools that look layers up by name, and derivatives with respect to a layer inside, need every layer
at the top. The layers are the file's own, with their weights; only the calls are made anew, in the
same order and with the same arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

# The class of models whose calls are known; it has no public name.
Functional = keras.Sequential.__mro__[1]

# Names that the rest of the project looks up.
RESERVED = ("image", "preprocessing", "features", "logits")


def is_graph(layer: keras.layers.Layer) -> bool:
    """Whether it is a model whose layers and their calls are known."""
    plain = type(layer).call in (Functional.call, keras.Sequential.call)
    return isinstance(layer, Functional) and plain and layer._is_graph_network


def calls(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, Any]]:
    """Every call of a layer, nested models opened, in the order in which they are made.

    Yields:
        The layer and its node, whose `output_shapes` and `call_kwargs` say more.
    """
    for node in _nodes(model):
        if is_graph(node.layer):
            yield from calls(node.layer)
        else:
            yield node.layer, node


def called(
    model: keras.Model,
    inputs: tf.Tensor,
    *,
    layer_of: Callable[[keras.layers.Layer], keras.layers.Layer] = lambda layer: layer,
    left_out: Sequence[keras.layers.Layer] = (),
    after: Callable[[int, tf.Tensor], tf.Tensor] = lambda place, output: output,
) -> Any:
    """What a graph model gives for a symbolic tensor, all calls made at the top.

    Every layer is called for inference, whatever it would do by itself (RandomFlip flips), unless
    the model itself calls it as in training.

    Args:
        model: `is_graph`, with one input.
        inputs: What it is called on.
        layer_of: The layer that is called in a layer's place.
        left_out: Layers that hand on what they are given.
        after: (number of the call, as `calls` counts them; its output) -> what is used for it.
    """
    return _Caller(layer_of, left_out, after).run(model, [inputs], training=False)[0]


class _Caller:
    def __init__(
        self,
        layer_of: Callable[[keras.layers.Layer], keras.layers.Layer],
        left_out: Sequence[keras.layers.Layer],
        after: Callable[[int, tf.Tensor], tf.Tensor],
    ) -> None:
        self.layer_of, self.after = layer_of, after
        self.left_out = {id(layer) for layer in left_out}
        self.place = 0
        self.mine: dict[int, keras.layers.Layer] = {}
        self.names = set(RESERVED)

    def run(self, model: keras.Model, inputs: list[tf.Tensor], training: bool) -> list[Any]:
        """Outputs for inputs; `training` is what the model itself was called with."""
        uses = model._tensor_usage_count
        known = {
            str(id(own)): [new] * uses[str(id(own))]
            for own, new in zip(model.inputs, inputs, strict=True)
        }
        for node in _nodes(model):
            args, kwargs = node.map_arguments(known)
            layer = node.layer
            if kwargs.get("training") is None and layer._call_spec.expects_training_arg:
                kwargs = {**kwargs, "training": training}
            if is_graph(layer):
                outputs = self.run(layer, tf.nest.flatten(args), kwargs["training"])
            else:
                outputs = self._call(layer, args, kwargs)
            for name, output in zip(node.flat_output_ids, tf.nest.flatten(outputs), strict=True):
                known[name] = [output] * uses[name]
        return [known[str(id(output))].pop() for output in model.outputs]

    def _call(self, layer: keras.layers.Layer, args: Any, kwargs: dict[str, Any]) -> Any:
        if id(layer) in self.left_out:
            self.place += 1
            return next(each for each in tf.nest.flatten((args, kwargs)) if tf.is_tensor(each))
        if id(layer) not in self.mine:
            mine = self.layer_of(layer)
            # The calls of the model as it was are forgotten, so that `layer.output` is the new one.
            mine._inbound_nodes = []
            mine._name = self._unused(mine.name)
            self.mine[id(layer)] = mine
        output = self.after(self.place, self.mine[id(layer)](*args, **kwargs))
        self.place += 1
        return output

    def _unused(self, name: str) -> str:
        while name in self.names:
            name = f"{name}_own"
        self.names.add(name)
        return name


def _nodes(model: keras.Model) -> list[Any]:
    """Calls in the model's own order; its inputs are none."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for d in depths for node in model._nodes_by_depth[d] if not node.is_input]
