"""One random corruption for each image, as a corrupted data set and corrupted training need it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from attnrobust import keyed
from attnrobust.corruptions import corrupt
from attnrobust.data.records import Dataset

log = logging.getLogger("attnrobust")


def warn_of_filter(dataset: Dataset) -> None:
    """Say so where corruptions come after a filter that a real fault would have come before.

    Light, haze and noise are formulas on photographs; a local mean taken off beforehand would have
    undone most of under- or over-exposure.
    """
    if dataset.filter != "none":
        log.warning(
            "warning: %s holds images after the filter %s, and corruptions are put on these; a "
            "camera's faults come before it: make records with --filter none to have them so",
            dataset.root,
            dataset.filter,
        )


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
    rng = np.random.default_rng(keyed.key(seed, id_, "random_corruption"))
    name, severity = str(rng.choice(names)), int(rng.choice(severities))
    if severity:
        image = corrupt(image[np.newaxis], [id_], name, severity, seed=seed)[0]
    return image, name, severity
