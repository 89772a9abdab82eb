"""How rows become records: the settings of a preparation, refused where they do not go together."""

from __future__ import annotations

import os
from dataclasses import dataclass

from attnrobust import config
from attnrobust.data import duplicates, preprocessing
from attnrobust.errors import UserError


@dataclass(frozen=True)
class Preparation:
    """How rows become records.

    Attributes:
        size: Height and width in pixels; 0 keeps each image's own.
        fit: Row of preprocessing.FITS: how a rectangle becomes a square.
        filter: Row of preprocessing.FILTERS, put on the image at its stored size.
        turn_inverted: Eyes that are upside down are turned back.
        fractions: Share of train, validation and test.
        seed: Of the split.
        shard_size: Examples in one file.
        max_rejects: Largest share of rows that may be rejected.
        partial: Rows without an image file are meant, and do not count.
        max_megapixels: Larger images are rejected.
        near_duplicates: Images whose perceptual hashes differ in so many bits or fewer are listed.
        workers: Processes; 1 works in this process.
    """

    size: int = 299
    fit: str = "stretch"
    filter: str = "none"
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0
    shard_size: int = 512
    max_rejects: float = 0.01
    max_megapixels: float = 50.0
    near_duplicates: int = duplicates.NEAR
    workers: int = os.cpu_count() or 1
    partial: bool = False
    turn_inverted: bool = False

    def __post_init__(self) -> None:
        config.lookup("fit", preprocessing.FITS, self.fit)
        config.lookup("filter", preprocessing.FILTERS, self.filter)
        if not 0 <= self.max_rejects <= 1:
            raise UserError(f"--max-rejects {self.max_rejects:g}: expected a share from 0 to 1")
        if not self.max_megapixels > 0:
            raise UserError(f"--max-megapixels {self.max_megapixels:g}: expected more than 0")
        if not 0 <= self.near_duplicates <= duplicates.MOST:
            raise UserError(
                f"--near-duplicates {self.near_duplicates}: expected 0 to {duplicates.MOST} bits"
            )
        if self.size < 8 and self.size != 0:
            raise UserError(f"--size {self.size}: expected at least 8, or 0 to keep each its own")
        if self.size**2 / 1e6 > self.max_megapixels:
            raise UserError(
                f"--size {self.size}: {self.size**2 / 1e6:,.0f} megapixels, more than "
                f"{self.max_megapixels:g} (--max-megapixels)"
            )
        fit = preprocessing.FITS[self.fit]
        if fit.moves and not self.size:
            raise UserError(f"--fit {self.fit}: needs a --size above 0")
        moving = " or ".join(name for name, row in preprocessing.FITS.items() if row.moves)
        if preprocessing.FILTERS[self.filter].centred and not fit.moves:
            raise UserError(
                f"--filter {self.filter}: needs the eye centred, expected --fit {moving}, got "
                f"{self.fit}"
            )
        if self.turn_inverted and not fit.moves:
            raise UserError(
                f"--turn-inverted: needs the eye found, expected --fit {moving}, got {self.fit}"
            )
