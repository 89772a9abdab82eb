"""`dataset.json`: what records say of themselves, and what is said of them when they are made."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnrobust.data import duplicates, preprocessing, records, rejected, shards
from attnrobust.data.raw import SPLITS, Reject

log = logging.getLogger("attnrobust")

# Share of clipped values that is said aloud.
CLIPPED = 0.05


def describe(
    name: str,
    classes: Sequence[str],
    tasks: Mapping[str, records.Task],
    parts: Mapping[str, Any],
    how: shards.Preparation,
) -> dict[str, Any]:
    """All of it that its hash is made of, but what was found of the rows together.

    Args:
        name: Of the data set.
        classes: Class names in label order.
        tasks: What else the labels may stand for.
        parts: Summaries of the shards by file.
        how: They were made.
    """
    by_split: dict[str, Any] = {}
    converted: Counter = Counter()
    for split in SPLITS:
        mine = [part for file, part in parts.items() if file.startswith(f"{split}-")]
        counts: Counter = Counter()
        for part in mine:
            counts.update(part["class_counts"])
            converted.update(part["converted"])
        by_split[split] = {
            "count": sum(part["count"] for part in mine),
            "class_counts": {label: counts[label] for label in classes},
            "shards": [
                {key: part[key] for key in ("file", "count", "bytes", "sha256")} for part in mine
            ],
        }
    return {
        "format": records.FORMAT,
        "name": name,
        "task": "classification",
        "classes": list(classes),
        "tasks": {task: dataclasses.asdict(row) for task, row in tasks.items()},
        "size": how.size,
        "fit": how.fit,
        "filter": how.filter,
        **({"turn_inverted": True} if how.turn_inverted else {}),
        "split_seed": how.seed,
        "fractions": how.fractions,
        "converted": converted,
        "splits": by_split,
    }


def say(described: Mapping[str, Any], rejects: Sequence[Reject], out: Path) -> None:
    """Log what stands in `dataset.json` and what of it is worth a look."""
    counts = {split: described["splits"][split]["count"] for split in SPLITS}
    log.info(
        "%s: %s images (%s) in %s",
        described["name"],
        f"{sum(counts.values()):,}",
        ", ".join(f"{split} {count:,}" for split, count in counts.items()),
        out,
    )
    for what, count in described["converted"].items():
        log.info("%d images with %s, stored upright as 8-bit RGB", count, what)
    if described["same_content"]:
        log.info(
            "%d rows share their image with another; kept in one split", described["same_content"]
        )
    less = preprocessing.FILTERS[described["filter"]].clips_less
    if described["exact_copies"]:
        log.info(
            "%d images are pixel by pixel another's, in other files; copies are kept in one split",
            described["exact_copies"],
        )
    if described.get("clipped", 0) > CLIPPED:
        log.warning(
            "warning: the filter %s left %.1f %% of the values pure black or white; what "
            "was there is lost%s",
            described["filter"],
            100 * described["clipped"],
            f"; less is with {less}" if less else "",
        )
    duplicates.say(described["near_duplicates"], out / duplicates.FILE)
    if rejects:
        log.warning("%d rows rejected, with reasons in %s", len(rejects), out / rejected.FILE)
