"""attnrobust: how robust a medical image classifier is, why, and how to make it better.

result = attnrobust.test(model, images, labels, preprocess="unit", epsilons=[1 / 255, 2 / 255])
result.table
result.report("out")
"""

from typing import TYPE_CHECKING, Any

from attnrobust import stack
from attnrobust.version import __version__

__all__ = ["Result", "UserError", "__version__", "test"]

# Before anything can ask for `tensorflow.keras`, which is another Keras afterwards.
stack.choose_keras()

if TYPE_CHECKING:
    from attnrobust.api import Result, UserError, test


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first asked for: TensorFlow takes seconds."""
    if name in __all__:
        from attnrobust import api

        return getattr(api, name)
    raise AttributeError(f"module 'attnrobust' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
