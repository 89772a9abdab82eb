"""Anybody's own images: what is there is recognised, said in a line, and read into rows.

A folder a class, a table beside images, Hugging Face's ImageFolder, MedMNIST's .npz, NumPy arrays,
a tf.data.Dataset: `read`, `from_arrays` and `from_dataset` give a `Found`, `write` makes records of
it.
"""

from attnrobust.data.own.arrays import from_arrays, from_dataset
from attnrobust.data.own.found import Found
from attnrobust.data.own.reading import read
from attnrobust.data.own.writing import write

__all__ = ["Found", "from_arrays", "from_dataset", "read", "write"]
