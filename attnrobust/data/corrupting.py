"""One random corruption for each image, as a corrupted data set and corrupted training need it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from attnrobust.corruptions import corrupt


def random_corruption(
    image: np.ndarray, id_: str, names: Sequence[str], severities: Sequence[int], *, seed: int
) -> tuple[np.ndarray, str, int]:
    """The image under one of several corruptions, at one of several severities.

    Both are drawn uniformly, from (seed, id) alone.

    Args:
        image: float32 (H, W, 3) in [0, 1]; not changed.
        id_: Of the image.
        names: Rows of CORRUPTIONS, at least one.
        severities: Of 0 to 5; 0 leaves the image as it is.
        seed: Of all chance in it.

    Returns:
        The image, the corruption and the severity.

    Raises:
        UserError: Unknown name or severity.
    """
    digest = hashlib.sha256(f"{seed}|{id_}|random_corruption".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "little"))
    name, severity = str(rng.choice(names)), int(rng.choice(severities))
    if severity:
        image = corrupt(image[np.newaxis], [id_], name, severity, seed=seed)[0]
    return image, name, severity
