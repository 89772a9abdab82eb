"""ChestX-ray14 (Wang et al. 2017): any of the 14 findings or none, split by patient.

Layout, official split and preparation: those of chestxray14 (tfrecords/chestxray14.py).

"No Finding" says that the reports' text names none of the 14, not that the lungs are healthy.

    attnrobust prepare chestxray14_abnormal --raw DIR [--out DIR]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnrobust.data import prepare
from attnrobust.data.raw import Reject, Row
from tfrecords import chestxray14

NAME = "chestxray14_abnormal"
CLASSES = ("no_finding", "finding")


def read(folder: Path, *, split_by: str = "patient") -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a raw folder, as chestxray14's, with classes of our own.

    Args:
        folder: Holds the CSV, the image folders and, if wanted, both lists.
        split_by: `patient` or `image`.

    Raises:
        UserError: What chestxray14's reader raises.
    """
    return chestxray14.read(folder, split_by=split_by, label_of=_label)


def _label(findings: Sequence[str]) -> str:
    return CLASSES[chestxray14.NOTHING not in findings]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return prepare.main(
        NAME,
        CLASSES,
        read,
        split_by=("patient", "image"),
        image_filter=chestxray14.FILTER,
        draw=chestxray14.draw_steps,
        about=__doc__,
        argv=argv,
    )


if __name__ == "__main__":
    raise SystemExit(main())
