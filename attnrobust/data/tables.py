"""Delimited text to records with the lines an editor shows: strict about structure, kind on form.

A quote opens at the start of a field and closes at its end (RFC 4180). One that does not is named,
since whatever lies between two stray quotes would be lost without a word.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnrobust.errors import UserError

MAGIC = {
    b"PK\x03\x04": "a zip or Excel file",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"\x1f\x8b": "a gzip file",
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
}
# A row of so many columns is not met in prose.
WIDE = 9


@dataclass
class Record:
    """One row of a table.

    Attributes:
        line: Where it begins in an editor, the first line being 1.
        end: Where it ends; later only where a quoted field has line breaks.
        fields: Their text.
    """

    line: int
    end: int
    fields: list[str]


@dataclass
class Table:
    """Header, rows of its length, and why those are not to be trusted that were shorter."""

    header: list[str]
    records: list[Record]
    short: dict[int, str]


class _BrokenError(Exception):
    def __init__(self, line: int, place: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.place = line, place


def read_text(path: Path, kind: str = "CSV") -> str:
    """A text file in UTF-8, with line ends as `\\n`; a bare CR stays where there are others.

    Raises:
        FileNotFoundError: Not there.
        UserError: Not text in UTF-8.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    reason = next((what for magic, what in MAGIC.items() if content.startswith(magic)), "")
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff")) or _every_other_byte_is_nul(content)
    reason = reason or ("UTF-16" if utf16 else "")
    if reason:
        raise UserError(f"{path}: not a readable {kind} ({reason}, expected text in UTF-8)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, field = before.count(b"\n") + 1, before.rpartition(b"\n")[2].count(b",") + 1
        raise UserError(
            f"{path}: not a readable {kind} (line {line}, field {field}: byte "
            f"0x{content[error.start]:02x} is not UTF-8; save it as UTF-8)"
        ) from None
    if text.startswith("\ufeff"):
        raise UserError(f"{path}: not a readable {kind} (two byte order marks, expected at most 1)")
    text = re.sub(r"\r+\n", "\n", text)
    return text if "\n" in text else text.replace("\r", "\n")


def _every_other_byte_is_nul(content: bytes) -> bool:
    start = content[:200]
    return len(start) > 3 and max(start[::2].count(0), start[1::2].count(0)) > len(start) // 3


def parse(path: Path, columns: Sequence[Sequence[str]], prose: Sequence[str] = ()) -> Table:
    """A table with commas, or with tabs where its header has the columns only so.

    Args:
        path: Of the file.
        columns: What is needed, each by its possible names.
        prose: Those of them that may have line breaks inside quotes.

    Raises:
        FileNotFoundError: Not there.
        UserError: One line with file, line and column: not text, a column missing or doubled, a
            stray quote, a NUL byte, more fields than the header, no rows.
    """
    text = read_text(path)
    header: list[str] = []
    records: list[Record] = []
    first = Record(1, 1, [])
    delimiter = _delimiter(text, columns)
    try:
        for record in _records(text, delimiter):
            if not any(field.strip() for field in record.fields):
                continue
            if header:
                records.append(record)
            else:
                first = record
                header = [" ".join(name.split()) for name in record.fields]
    except _BrokenError as error:
        where = _column(header, error.place)
        raise UserError(
            f"{path}: not a readable CSV (line {error.line}, {where}: {error})"
        ) from None
    if not header:
        raise UserError(f"{path}: not a readable CSV (empty)")
    needed = _needed(path, header, columns)
    if not records:
        raise UserError(f"{path}: no rows below the header")
    short = _same_length(path, header, records)
    needed = [place for place in needed if header[place] not in prose]
    _check_fields(path, header, records, needed)
    _check_quotes(
        path, header, [first, *records], needed, lines=text.split("\n"), delimiter=delimiter
    )
    return Table(header, records, short)


def _delimiter(text: str, columns: Sequence[Sequence[str]]) -> str:
    first = next((line for line in text.split("\n", 50) if line.strip()), "")

    def known(delimiter: str) -> int:
        names = {name.strip().strip('"').strip() for name in first.split(delimiter)}
        return sum(not names.isdisjoint(column) for column in columns)

    return "\t" if known("\t") > known(",") else ","


def _records(text: str, delimiter: str) -> Iterator[Record]:
    plain = re.compile(rf"[^{delimiter}\n]*")
    position, line = 0, 1
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        if text.find('"', position, end) < 0:
            yield Record(line, line, text[position:end].split(delimiter))
            position, line = end + 1, line + 1
            continue
        start, fields = line, list[str]()
        while True:
            if text.startswith('"', position):
                field, position = _quoted(text, position, line, len(fields), delimiter)
            else:
                field = plain.match(text, position).group()  # type: ignore[union-attr]
                position += len(field)
            fields.append(field)
            line += field.count("\n")
            position += 1
            if position > len(text) or text[position - 1] == "\n":
                break
        yield Record(start, line, fields)
        line += 1


def _quoted(text: str, start: int, line: int, place: int, delimiter: str) -> tuple[str, int]:
    """A quoted field and where it ends."""
    parts, position = [], start + 1
    while True:
        close = text.find('"', position)
        if close < 0:
            raise _BrokenError(line, place, "a quote is opened and never closed")
        parts.append(text[position:close])
        if not text.startswith('""', close):
            break
        parts.append('"')
        position = close + 2
    field, end = "".join(parts), close + 1
    while text.startswith(" ", end):
        end += 1
    if end < len(text) and text[end] not in (delimiter, "\n"):
        last = line + field.count("\n")
        raise _BrokenError(
            line,
            place,
            f"the quote opened here meets one in line {last} that does not end its field",
        )
    return field, end


def _column(header: Sequence[str], place: int) -> str:
    name = header[place] if place < len(header) else ""
    return f"column {name}" if name else f"field {place + 1}"


def _needed(path: Path, header: Sequence[str], columns: Sequence[Sequence[str]]) -> list[int]:
    """Places of the needed columns."""
    missing = [names[0] for names in columns if not set(names) & set(header)]
    if missing:
        there = ", ".join(name for name in header if name)
        hint = " (semicolons; expected commas)" if header[0].count(";") else ""
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {there}{hint}")
    for place, name in enumerate(header):
        first = header.index(name)
        if name and first != place:
            raise UserError(
                f"{path}: line 1: column {name} stands twice, as fields {first + 1} and "
                f"{place + 1}; which one is meant is a guess"
            )
    return [header.index(next(name for name in names if name in header)) for names in columns]


def _same_length(path: Path, header: Sequence[str], records: Sequence[Record]) -> dict[int, str]:
    """Give every row the header's length; returns the lines that lack a column with a name."""
    # A comma at the end of every line is form; at the end of some it may be a shift.
    lengths = {len(record.fields) for record in records}
    if len(lengths) == 1 and not any("".join(record.fields[len(header) :]) for record in records):
        for record in records:
            del record.fields[len(header) :]
    short = {}
    for record in records:
        count = len(record.fields)
        if count > len(header):
            raise UserError(
                f"{path}: not a readable CSV (line {record.line}: {count} fields, more fields than "
                f"the header's {len(header)}, the first too many '{record.fields[len(header)]}')"
            )
        if any(header[count:]):
            short[record.line] = (
                f"{count} fields, the header has {len(header)}: which is missing is a guess"
            )
        record.fields += [""] * (len(header) - count)
    return short


def _check_fields(
    path: Path, header: Sequence[str], records: Sequence[Record], needed: Sequence[int]
) -> None:
    for record in records:
        nul = next((place for place, field in enumerate(record.fields) if "\0" in field), None)
        if nul is not None:
            raise UserError(
                f"{path}: line {record.line}, {_column(header, nul)}: a NUL byte in the text"
            )
        if record.end == record.line:
            continue
        for place in needed:
            if "\n" in record.fields[place].strip():
                raise UserError(
                    f"{path}: line {record.line}, {_column(header, place)}: a line break inside "
                    "quotes; a stray quote?"
                )


def _check_quotes(
    path: Path,
    header: Sequence[str],
    records: Sequence[Record],
    needed: Sequence[int],
    *,
    lines: Sequence[str],
    delimiter: str,
) -> None:
    """Refuse line breaks inside quotes where what follows them is a row of its own."""
    broken = [record for record in records if record.end > record.line]
    if not broken:
        return
    known = {place: {_shape(record.fields[place]) for record in records} - {""} for place in needed}
    for record in broken:
        for number in range(record.line + 1, record.end + 1):
            try:
                fields = next(csv.reader([lines[number - 1]], delimiter=delimiter), [])
            except csv.Error:
                fields = lines[number - 1].split(delimiter)
            alike = len(fields) > max(needed) and all(
                _shape(fields[place]) in known[place] for place in needed
            )
            if alike or len(fields) == len(header) >= WIDE:
                place = next(at for at, field in enumerate(record.fields) if "\n" in field)
                raise UserError(
                    f"{path}: line {record.line}, {_column(header, place)}: a quote opened here "
                    f"swallows line {number}, which looks like a row of its own"
                )


def _shape(text: str) -> str:
    """What kind of text it is: `a_9` for ISIC_0027419."""
    return re.sub(r"[0-9]+", "9", re.sub(r"[^\W\d_]+", "a", text.strip()))
