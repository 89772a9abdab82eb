"""Drawn images to be segmented: a bright disc and a dark square on grey, and what is where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from attnrobust.data import records, shards, writing
from attnrobust.data.raw import Row

CLASSES = ("background", "disc", "square")
SIZE = 32


def drawing(seed: int, height: int = SIZE, width: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """An image, uint8 (H, W, 3), and its class map, uint8 (H, W)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    centres, radius = rng.uniform(0.25, 0.75, (2, 2)), rng.uniform(0.12, 0.2)
    classes = np.zeros((height, width), np.uint8)
    classes[(abs(y - centres[1, 0]) < radius) & (abs(x - centres[1, 1]) < radius)] = 2
    classes[(y - centres[0, 0]) ** 2 + (x - centres[0, 1]) ** 2 < radius**2] = 1
    grey = np.array([128, 220, 30])[classes] + rng.normal(0, 10, classes.shape)
    image = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return image, classes


def make_rows(folder: Path, number: int, **shape: int) -> list[Row]:
    """Write so many drawings, two of each group, as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(number):
        image, classes = drawing(seed, **shape)
        place, map_ = folder / f"d{seed}.png", folder / f"d{seed}_map.png"
        Image.fromarray(image).save(place)
        Image.fromarray(classes).save(map_)
        rows.append(Row(f"d{seed}", place, "", f"g{seed // 2}", seed + 2, map=map_))
    return rows


def write_drawn(folder: Path, number: int = 20, **changes: Any) -> records.Dataset:
    """Records of drawings below a folder."""
    settings = {"size": SIZE, "workers": 1, "fractions": (0.6, 0.2, 0.2), **changes}
    return writing.write(
        folder / "drawn",
        name="drawn",
        classes=CLASSES,
        rows=make_rows(folder / "raw", number),
        rejects=[],
        how=shards.Preparation(**settings),
    )
