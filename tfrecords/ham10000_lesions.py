"""HAM10000 (Tschandl et al. 2018), where its lesions are: every pixel lesion or skin around it.

Layout as HAM10000's, with the masks, which are downloaded apart:
    HAM10000_metadata.csv and the images, as for ham10000
    HAM10000_segmentations_lesion_tschandl/  <image_id>_segmentation.png

An image without a mask is rejected.

    attnrobust prepare ham10000_lesions --raw DIR [--out DIR]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from attnrobust.data import prepare
from attnrobust.data.raw import Reject, Row
from attnrobust.errors import UserError
from tfrecords import ham10000

NAME = "ham10000_lesions"
CLASSES = ("background", "lesion")
# What stands for them in a mask.
VALUES = (0, 255)


def read(folder: Path, *, split_by: str = "lesion") -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a raw folder; arguments and errors as `ham10000.read`.

    Raises:
        UserError: There is no mask at all.
    """
    found, rejects = ham10000.read(folder, split_by=split_by)
    rows = [
        dataclasses.replace(row, label="", map=row.mask, values=VALUES) for row in found if row.mask
    ]
    if not rows:
        raise UserError(f"{folder}: no masks; expected them in {ham10000.MASKS}")
    rejects += [Reject(row.line, row.id, "no mask") for row in found if not row.mask]
    return rows, rejects


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return prepare.main(NAME, CLASSES, read, split_by=("lesion", "image"), about=__doc__, argv=argv)


if __name__ == "__main__":
    raise SystemExit(main())
