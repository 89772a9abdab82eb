"""Models that stand in this process's memory, adopted by a name in place of a file."""

from __future__ import annotations

import hashlib
import weakref

from tensorflow import keras

from attnrobust.errors import UserError
from attnrobust.models.adopted import flat

PREFIX = "memory:"
# By what is in them; one that nobody holds any more is gone.
_HELD: weakref.WeakValueDictionary[str, keras.Model] = weakref.WeakValueDictionary()


def hold(model: keras.Model) -> str:
    """A name for the model as it is now, by layers and weights; it can be adopted as a file can.

    The name is the same for the same model, so that a test that was cut off goes on.
    """
    # The same weights may be followed by a softmax, or not.
    layers = model.to_json() if flat.is_graph(model) else type(model).__name__
    content = hashlib.sha256(layers.encode())
    for weight in model.weights:
        content.update(f"{weight.name} {weight.shape}".encode() + weight.numpy().tobytes())
    name = PREFIX + content.hexdigest()[:16]
    _HELD[name] = model
    return name


def held(name: str) -> keras.Model:
    """A copy of the model of that name, since adopting takes off its last function.

    A subclassed model, of which there is no copy, is given as it is: it stays one layer.

    Raises:
        UserError: It is of another process, or gone.
    """
    if name not in _HELD:
        raise UserError(f"{name}: that model stood in the memory of another process; test it again")
    model = _HELD[name]
    if not flat.is_graph(model):
        return model
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy
