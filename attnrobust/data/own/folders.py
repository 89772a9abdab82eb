"""A folder a class, below folders of splits or not, as Keras and torchvision have it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from attnrobust.data.own import found
from attnrobust.data.own.found import Found
from attnrobust.data.own.listing import Listing
from attnrobust.data.raw import Row
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

# Words of folders and of a table's split column, in lower case.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "train_set": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "val_set": "validation",
    "publictest": "validation",
    "test": "test",
    "testing": "test",
    "test_set": "test",
    "privatetest": "test",
}


def read(listing: Listing, classes: Sequence[str]) -> Found | None:
    """Images by the folder below the root, or below split folders; None where there are none.

    Folders of one name alone, as archives leave them around everything, are passed through; what
    is nested below a class folder is of the class.

    Raises:
        UserError: Split folders beside others, or a single class.
    """
    paths = {name: tuple(name.split("/")) for name in listing.files}
    depth = _around(list(paths.values()))
    inner = {parts[depth] for parts in paths.values() if len(parts) > depth + 1}
    splits = {name for name in inner if name.lower() in SPLIT_WORDS}
    if splits and splits != inner:
        raise UserError(
            f"{listing.root}: folders of splits ({_said(splits)}) beside others "
            f"({_said(inner - splits)}); expected class folders in each of the splits, or classes "
            "alone"
        )
    place = depth + bool(splits)
    labelled = {name: parts for name, parts in paths.items() if len(parts) > place + 1}
    if not labelled:
        return None
    if len(labelled) < len(paths):
        log.warning(
            "warning: %s images lie in no class folder; left out",
            f"{len(paths) - len(labelled):,}",
        )
    rows = [
        Row(
            listing.ids[name],
            listing.files[name],
            parts[place],
            listing.ids[name],
            number,
            split=SPLIT_WORDS[parts[depth].lower()] if splits else "",
        )
        for number, (name, parts) in enumerate(labelled.items(), start=1)
    ]
    where = "/".join([str(listing.root), *next(iter(labelled.values()))[:depth]])
    rows, rejects, order = found.ordered(rows, [], classes, what=where, folders=True)
    layout = f"{where}: a folder a class" + (
        f", in folders of splits ({_said(splits)})" if splits else ""
    )
    return Found(rows, rejects, order, layout, [listing.root], listing.root.name)


def _around(paths: Sequence[tuple[str, ...]]) -> int:
    """How many folders hold all there is, and no image beside it."""
    depth = 0
    while all(len(parts) > depth + 2 for parts in paths):
        names = {parts[depth] for parts in paths}
        if len(names) != 1 or min(names).lower() in SPLIT_WORDS:
            break
        depth += 1
    return depth


def _said(names: set[str]) -> str:
    return ", ".join(sorted(names))
