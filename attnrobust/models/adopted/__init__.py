"""ADOPT: a Keras model that was trained elsewhere, made to keep the project's pixel contract."""

from attnrobust.measures.class_order import order_note
from attnrobust.models.adopted.adopting import Told, image_size, load, proven, told
from attnrobust.models.adopted.diagnosis import diagnose, doubt, said
from attnrobust.models.adopted.ends import saturation
from attnrobust.models.adopted.files import digest
from attnrobust.models.adopted.preprocessing import PREPROCESSING

__all__ = [
    "PREPROCESSING",
    "Told",
    "diagnose",
    "digest",
    "doubt",
    "image_size",
    "load",
    "order_note",
    "proven",
    "said",
    "saturation",
    "told",
]
