"""ADOPT: a Keras model that was trained elsewhere, made to keep the project's pixel contract."""

from attnrobust.measures.class_order import order_note
from attnrobust.models.adopted.adopting import Told, image_size, load, told
from attnrobust.models.adopted.diagnosis import diagnose
from attnrobust.models.adopted.ends import saturation
from attnrobust.models.adopted.files import digest

__all__ = ["Told", "diagnose", "digest", "image_size", "load", "order_note", "saturation", "told"]
