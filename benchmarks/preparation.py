"""What preprocessing once, offline, saves: `python -m benchmarks.preparation --raw DIR`.

Prints images/s of one core for the disc and Graham's filter (processor time), then how many
training images/s come from prepared records and how many from the raw photographs, decoded, fitted,
filtered and batched on the fly, both with the same tf.data parallelism and the wall clock. Their
ratio grows with the photographs: --megapixels makes them as large as the originals (about 6).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.console import positive
from attnrobust.data import images, inputs, preprocessing, shards, writing
from attnrobust.data.raw import Row
from tfrecords import eyepacs


def enlarged(rows: list[Row], megapixels: float, folder: Path) -> list[Path]:
    """Each row's photograph as a JPEG file, made so large; 0 keeps its size."""
    paths = []
    for row in rows:
        image = cv2.imread(str(row.path))
        factor = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5 if megapixels else 1
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        paths.append(folder / f"{row.id}.jpeg")
        cv2.imwrite(str(paths[-1]), image)
    return paths


def prepared(content: bytes, size: int) -> np.ndarray:
    """A file's bytes to uint8 RGB (size, size, 3)."""
    image, _ = images.load_image(content, max_megapixels=50)
    square, _ = preprocessing.FITS["disc"].make(image, size)
    return preprocessing.FILTERS["graham"].apply(square)


def on_the_fly(paths: list[Path], size: int, batch: int) -> tf.data.Dataset:
    """Training images from the photographs, float32 batches in [0, 1]."""

    def load(path: tf.Tensor) -> tf.Tensor:
        image = tf.numpy_function(
            lambda content: prepared(content, size), [tf.io.read_file(path)], tf.uint8
        )
        image.set_shape((size, size, 3))
        return tf.image.convert_image_dtype(image, tf.float32)

    files = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    return files.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch).prefetch(2)


def rate(batches: tf.data.Dataset, count: int) -> float:
    """Images/s of the wall clock; the first pass, which traces and warms caches, does not count."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in batches:
            pass
        seconds.append(time.perf_counter() - start)
    return count / min(seconds[1:])


def usable(path: Path, size: int) -> bool:
    """Whether it can be prepared."""
    try:
        prepared(path.read_bytes(), size)
    except images.UnusableImageError:
        return False
    return True


def main() -> None:
    """Print the three rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw", type=Path, required=True, help="EyePACS as downloaded")
    parser.add_argument("--images", type=positive, default=64)
    parser.add_argument("--size", type=positive, default=256, help="px of the records")
    parser.add_argument("--megapixels", type=float, default=0.0, help="of a photograph; 0: its own")
    parser.add_argument("--batch", type=positive, default=16)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    found = eyepacs.read(options.raw)[0][: options.images]
    rows = [row for row in found if usable(row.path, options.size)]
    print(f"{len(found) - len(rows)} photographs without a disc are left out")
    with tempfile.TemporaryDirectory() as name:
        paths = enlarged(rows, options.megapixels, Path(name))
        contents = [path.read_bytes() for path in paths]
        start = time.process_time()
        for content in contents:
            prepared(content, options.size)
        core = len(paths) / (time.process_time() - start)
        how = shards.Preparation(
            size=options.size, fit="disc", filter="graham", workers=1, fractions=(1.0, 0.0, 0.0)
        )
        dataset = writing.write(
            Path(name) / "records",
            name="eyepacs",
            classes=eyepacs.CLASSES,
            rows=rows,
            rejects=[],
            how=how,
        )
        data = config.Data(dataset="eyepacs", image_size=options.size)
        training = config.Training(batch_size=options.batch, augmentation=())
        records = inputs.training_batches(dataset, data=data, training=training, seed=0, epoch=0)
        ready = rate(records, inputs.steps(dataset, data, training) * options.batch)
        flying = rate(on_the_fly(paths, options.size, options.batch), len(paths))
    print(f"{len(rows)} photographs to {options.size} px")
    print(f"decode, disc, Graham    {core:8.1f} images/s of one core")
    print(f"from prepared records   {ready:8.1f} images/s")
    print(f"on the fly              {flying:8.1f} images/s")
    print(f"ratio                   {ready / flying:8.1f}")


if __name__ == "__main__":
    main()
