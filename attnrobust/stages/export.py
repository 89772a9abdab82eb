"""EXPORT: a SavedModel with named outputs, loaded again in a fresh process and compared."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models import build

log = logging.getLogger("attnrobust")

TOLERANCE = 1e-4


def export(model: keras.Model, images: np.ndarray, folder: Path) -> float:
    """Write `saved_model/` and check it.

    Its signature `serving_default` takes `images`, float32 (N, H, W, 3) RGB in [0, 1], and gives
    `logits` (N, K), `probabilities` (N, K) and, for models with attention, `attention_map`
    (N, h, w). A segmenter gives logits and probabilities (N, H, W, K), and `prediction` (N, H, W)
    uint8, the likeliest class of each pixel. Probabilities exist only here; everything else works
    on logits.

    Args:
        model: Images to logits.
        images: A few images to compare on, float32 (N, H, W, 3) in [0, 1].
        folder: Where `saved_model/` goes.

    Returns:
        Largest difference of a logit between this process and a fresh one.

    Raises:
        UserError: The difference is above 1e-4, or the fresh process could not load the model.
    """
    target, partial = folder / "saved_model", folder / "saved_model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    attention = build.attention_model(model)
    signature = [tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name="images")]

    @tf.function(input_signature=signature)
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = (attention or model)(images, training=False)
        outputs = outputs if attention else {"logits": outputs}
        if outputs["logits"].shape.rank == 4:
            likeliest = tf.argmax(outputs["logits"], axis=-1)
            outputs = {**outputs, "prediction": tf.cast(likeliest, tf.uint8)}
        return {**outputs, "probabilities": tf.nn.softmax(outputs["logits"])}

    module = tf.Module()
    module.model, module.serve = attention or model, serve
    tf.saved_model.save(module, str(partial), signatures={"serving_default": serve})
    expected = serve(tf.constant(images))["logits"].numpy()
    difference = _compare(partial, images, expected)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    log.info("%s: loaded in a fresh process, logits differ by at most %.1e", target, difference)
    return difference


def drawn(size: int) -> np.ndarray:
    """Eight images to compare on, float32 (8, size, size, 3) in [0, 1]; each time the same.

    Fields of colour, not noise alone: a network's ReLUs shall answer to both.
    """
    rng = np.random.default_rng(0)
    coarse = rng.uniform(size=(8, 4, 4, 3)).astype(np.float32)
    smooth = tf.image.resize(coarse, (size, size)).numpy()
    return np.asarray(np.clip(smooth + rng.normal(0, 0.1, smooth.shape), 0, 1), np.float32)


def _compare(saved: Path, images: np.ndarray, expected: np.ndarray) -> float:
    """Ask a process that knows nothing of this project for the same logits."""
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "serve = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "out = serve(images=tf.constant(np.load(sys.argv[2])))\n"
        "np.save(sys.argv[3], out['logits'].numpy())\n"
    )
    given, answer = saved / "images.npy", saved / "logits.npy"
    np.save(given, images)
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved), str(given), str(answer)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"{saved}: cannot be loaded again ({done.stderr.strip()[-300:]})")
    difference = float(np.abs(np.load(answer) - expected).max())
    given.unlink()
    answer.unlink()
    if not difference <= TOLERANCE:
        raise UserError(
            f"{saved}: loaded again, its logits differ by {difference:.1e}, more than {TOLERANCE}"
        )
    return difference


def write_card(folder: Path, classes: list[str], image_size: int) -> None:
    """Write `saved_model/classes.json`: what goes in and what the numbers mean."""
    card = {
        "input": f"images: float32 (N, {image_size}, {image_size}, 3), RGB in [0, 1]",
        "classes": classes,
    }
    runs.save_json(folder / "saved_model" / "classes.json", card)
