"""Tables damaged at random: each line left as it was is a row or a reject, or the table refused."""

import csv
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from data_helpers import contents, stored
from test_tables import READERS, make

from attnrobust.data import prepare, raw, records
from attnrobust.errors import UserError

SECONDS = 30
SIGNS = ['"', '""', ",", ",,", "\t", ";", "\r", "\n", "\0", " ", "é", "\ufeff", "'", "=", "1", "/"]
Rng = np.random.Generator
Change = Callable[[list[str], Rng], None]


def insert(lines: list[str], rng: Rng) -> None:
    """Any sign anywhere."""
    number = rng.integers(0, len(lines))
    place = rng.integers(0, len(lines[number]) + 1)
    sign = SIGNS[rng.integers(0, len(SIGNS))]
    lines[number] = lines[number][:place] + sign + lines[number][place:]


def quote(lines: list[str], rng: Rng) -> None:
    """A stray quote at the border of a field."""
    number = rng.integers(0, len(lines))
    fields = lines[number].split(",")
    place = rng.integers(0, len(fields))
    fields[place] = [f'"{fields[place]}', f'{fields[place]}"'][rng.integers(0, 2)]
    lines[number] = ",".join(fields)


def delete(lines: list[str], rng: Rng) -> None:
    number = rng.integers(0, len(lines))
    first, last = sorted(rng.integers(0, len(lines[number]) + 1, 2))
    lines[number] = lines[number][:first] + lines[number][last:]


def join(lines: list[str], rng: Rng) -> None:
    """Two lines become one."""
    number = rng.integers(0, len(lines) - 1)
    lines[number : number + 2] = ["".join(lines[number : number + 2])]


def move(lines: list[str], rng: Rng) -> None:
    """A field more or less, so that the columns shift."""
    number = rng.integers(0, len(lines))
    fields = lines[number].split(",")
    place = rng.integers(0, len(fields))
    fields[place : place + 1] = [[], [fields[place]] * 2][rng.integers(0, 2)]
    lines[number] = ",".join(fields)


def copy(lines: list[str], rng: Rng) -> None:
    lines.insert(int(rng.integers(1, len(lines))), lines[rng.integers(0, len(lines))])


def column(lines: list[str], rng: Rng) -> None:
    """A column a second time, or renamed."""
    fields = lines[0].split(",")
    place = rng.integers(0, len(fields))
    name = [fields[place], f"{fields[place]} ", fields[place].upper(), ""][rng.integers(0, 4)]
    lines[0] += f",{name}"
    if rng.random() < 0.8:
        lines[1:] = [f"{line},x" for line in lines[1:]]


def number(lines: list[str], rng: Rng) -> None:
    """Numbers as spreadsheets write them."""
    form = ["{}.0", "00{}", " {}", "+{}", "{}e0"][rng.integers(0, 5)]
    at = rng.integers(0, len(lines))
    lines[at] = re.sub(r"(?<=,)\d+(?=,)", lambda found: form.format(found[0]), lines[at])


CHANGES: list[Change] = [insert, insert, quote, quote, delete, join, move, copy, column, number]
FORMS: list[Callable[[str], bytes]] = [
    *[str.encode] * 6,
    lambda text: text.replace("\n", "\r\n").encode(),
    lambda text: text.encode("utf-16"),
    lambda text: text.encode("latin-1", "replace"),
    lambda text: b"\xef\xbb\xbf" + text.encode(),
    lambda text: text.encode()[: len(text) * 2 // 3],
]


def damage(folder: Path, reader: ModuleType, rng: Rng) -> tuple[dict[int, str], bytes]:
    """Damage a folder's table.

    Returns:
        The lines that still stand as they were, each with its id, the header's empty; the content.
    """
    name, header, row, image = READERS[reader]
    before = {row(number): number for number in range(20)}
    lines = [header, *before]
    for _ in range(rng.integers(1, 4)):
        CHANGES[rng.integers(0, len(CHANGES))](lines, rng)
    content = FORMS[rng.integers(0, len(FORMS))]("\n".join([*lines, ""]))
    (folder / name).write_bytes(content)
    left = re.split(r"\r\n|\n", content.decode("utf-8", "replace"))
    left[0] = left[0].removeprefix("\ufeff")
    ids = {line: Path(image.format(number)).stem for line, number in before.items()} | {header: ""}
    return {at: ids[line] for at, line in enumerate(left, start=1) if line in ids}, content


def bare(id_: str) -> str:
    return raw.bare_ids([id_])[0]


def refusal(folder: Path, error: UserError) -> bool:
    """Whether a message is one line that names the folder's file."""
    return len(str(error).splitlines()) == 1 and str(folder) in str(error)


@pytest.mark.slow
def test_no_line_of_a_damaged_table_is_lost_in_silence(tmp_path: Path) -> None:
    folders = {reader: make(tmp_path / reader.NAME, reader) for reader in _made(tmp_path)}
    began, turn, read, refused = time.process_time(), 0, 0, 0
    while time.process_time() - began < SECONDS:
        rng = np.random.default_rng(turn)
        reader = list(folders)[turn % len(folders)]
        folder = folders[reader]
        left, content = damage(folder, reader, rng)
        what = (turn, reader.NAME, content)
        turn += 1
        try:
            rows, rejects = reader.read(folder)
        except UserError as error:
            if not refusal(folder, error):
                raise
            refused += 1
            continue
        read += 1
        lines = [row.line for row in rows] + [reject.line for reject in rejects]
        assert len(set(lines)) == len(lines), what
        assert {line for line, id_ in left.items() if id_} <= set(lines), what
        if "" in left.values():  # no column moved: no field of another's either
            mixed = [row for row in rows if left.get(row.line) not in (None, bare(row.id))]
            assert not mixed, (mixed, *what)
        assert all(row.path.is_relative_to(folder) for row in rows), what
        assert all(reject.reason for reject in rejects), what
        if turn % 10 == 0:
            prepares(folder, reader, tmp_path / "out", len(lines), what)
    assert read > 100
    assert refused > 100


def _made(tmp_path: Path) -> list[ModuleType]:
    for reader in READERS:
        (tmp_path / reader.NAME).mkdir()
    return list(READERS)


def prepares(folder: Path, reader: ModuleType, out: Path, count: int, what: tuple) -> None:
    """The command writes a record or a reject for each row, and nothing elsewhere."""
    before = contents(folder)
    log = logging.getLogger("attnrobust")
    handlers = list(log.handlers)
    argv = [
        "--raw",
        str(folder),
        "--out",
        str(out),
        "--size",
        "8",
        "--workers",
        "1",
        "--max-rejects",
        "1",
    ]
    try:
        code = prepare.main(
            reader.NAME, reader.CLASSES, reader.read, split_by=("patient", "image"), argv=argv
        )
    finally:
        log.handlers = handlers
    assert contents(folder) == before, what
    assert code in (0, 1), what
    if code == 0:
        with (out / "rejects.csv").open(newline="") as file:
            rejects = list(csv.DictReader(file))
        assert len(stored(records.load(out))) + len(rejects) == count, what
    names = {path.name for path in out.parent.iterdir() if not path.name.startswith(".")}
    assert names - {reader.NAME for reader in READERS} <= {
        "out",
        "out.partial",
        "out.rejects.csv",
        "out.lock",
    }, what
