"""PRECISIONS: what a model computes in while it is explained; whether maps stay what they were.

bfloat16 keeps 8 of float32's 24 bits. TensorFlow's own rewrite of a compiled step puts
convolutions, forward and backward, into it; sums, means and softmax over positions and dense layers
stay float32, since 8 bits of a logit are too few to tell how far it drops. So it serves any model
as it is.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from attnrobust.errors import UserError
from attnrobust.measures import maps

log = logging.getLogger("attnrobust")

PRECISIONS = ("float32", "bfloat16")
# Mean rank correlation with the maps of float32 from which on those of bfloat16 may stand for them.
LIMIT = 0.9
# Images of a kind that both are made of, to see.
COMPARED = 4
# Of processors alone; there is none for GPUs.
REWRITE = "auto_mixed_precision_onednn_bfloat16"
# TensorFlow reads these whenever it rewrites. A kind of operation may stand on one list only.
LISTS = "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_"
KEPT = "MatMul,Mean,Softmax,Sum"
KEEPING = {
    **{f"{LISTS}{name}_REMOVE": KEPT for name in ("ALLOWLIST", "INFERLIST", "CLEARLIST")},
    f"{LISTS}DENYLIST_ADD": KEPT,
}
# Where Linux lists what the processor has, and what it calls bfloat16 there.
PROCESSORS, FLAGS = Path("/proc/cpuinfo"), {"avx512_bf16", "amx_bf16"}


@contextlib.contextmanager
def computing(name: str) -> Iterator[None]:
    """Compiled steps that are called meanwhile compute in this precision, and return float32."""
    before = tf.config.optimizer.get_experimental_options().get(REWRITE, False)
    if name == "float32" and not before:
        yield  # Nothing is touched: what was compiled stays so.
        return
    lists = {each: os.environ.get(each) for each in KEEPING}
    try:
        tf.config.optimizer.set_experimental_options({REWRITE: name == "bfloat16"})
        os.environ.update(KEEPING)
        yield
    finally:
        tf.config.optimizer.set_experimental_options({REWRITE: before})
        for each, value in lists.items():
            if value is None:
                os.environ.pop(each, None)
            else:
                os.environ[each] = value


def require(name: str) -> None:
    """Raise a UserError unless this machine computes in it, and faster than in float32."""
    if name != "bfloat16":
        return
    why = ""
    if not _has_bfloat16():
        why = "TensorFlow computes in float32 here all the same"
    elif _imitated():
        why = "this processor only imitates it, which takes longer than float32"
    if why:
        raise UserError(
            f"explanation.precision = bfloat16: {why}; expected float32, or a processor that has "
            "bfloat16 (AVX512_BF16, AMX) and no GPU"
        )


def _imitated() -> bool:
    """Whether Linux lists what the processor has, and bfloat16 is not among it.

    oneDNN then makes it of float32 where there is AVX-512: measured, 2.6 times as slow as that.
    """
    try:
        listed = re.search(r"^flags\s*:(.*)$", PROCESSORS.read_text(), re.MULTILINE)
    except OSError:
        return False
    return listed is not None and not FLAGS & set(listed[1].split())


@functools.lru_cache(maxsize=1)
def _has_bfloat16() -> bool:
    """Whether a convolution loses digits when it is asked to."""
    rng = np.random.default_rng(0)
    image, kernel = (
        tf.constant(rng.normal(size=shape), tf.float32) for shape in ((1, 8, 8, 3), (3, 3, 3, 4))
    )

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        return tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "SAME"))

    found = {}
    for name in PRECISIONS:
        with computing(name):
            found[name] = step().numpy()
    # A GPU may add up in another order from one call to the next.
    return not np.allclose(found["bfloat16"], found["float32"], rtol=1e-4, atol=1e-4)


def require_agreement(
    method: str, heatmaps: Callable[[str], np.ndarray], name: str, kinds: Sequence[str]
) -> None:
    """Compare a method's maps with those of float32, and say how alike they are.

    Args:
        method: Row of EXPLANATIONS.
        heatmaps: Of a precision, the same images' (S, H, W).
        name: The precision that is asked for.
        kinds: What each of the images is: `clean` or `attacked` (S,).

    Raises:
        UserError: They rank an image's pixels otherwise: the mean of Spearman's rank correlations
            over one of the kinds is below LIMIT.
    """
    alike: dict[str, list[float]] = {}
    for kind, *pair in zip(kinds, heatmaps("float32"), heatmaps(name), strict=True):
        steep = [np.ptp(each) > 0 for each in pair]
        if any(steep):  # Two that are the same everywhere rank nothing.
            alike.setdefault(kind, []).append(maps.spearman(*pair) if all(steep) else 0.0)
    if not alike:
        log.info("%s in %s: maps are the same everywhere, as in float32", method, name)
        return
    said = ", ".join(
        f"{np.mean(values):.4f} on {len(values)} {kind} images (least {min(values):.4f})"
        for kind, values in alike.items()
    )
    if min(map(np.mean, alike.values())) < LIMIT:
        raise UserError(
            f"explanation.precision = {name}: the maps of {method} rank pixels otherwise than in "
            f"float32, with a rank correlation of {said}; expected at least {LIMIT}, or float32"
        )
    log.info("%s in %s: rank correlation with its maps in float32 %s", method, name, said)
