"""ADOPT: a Keras model that was trained elsewhere, made to keep the project's pixel contract."""

from attnrobust.models.adopted.adopting import load, told
from attnrobust.models.adopted.files import digest, image_size

__all__ = ["digest", "image_size", "load", "told"]
