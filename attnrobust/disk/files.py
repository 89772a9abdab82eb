"""Files written whole or not at all, and read with one clear line for a damaged one."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from attnrobust.errors import UserError

# What is advised where a reader knows nothing better.
AGAIN = "run its stage again"
TEMPORARY = re.compile(r"\.\d+-[0-9a-f]{6}-")


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it at the end, removed on any failure.

    Raises:
        UserError: The disk is full; what stood at `path` before is untouched. Or its folder cannot
            be made, as in /proc.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        raise UserError(f"{path.parent}: cannot be made; expected a folder to write to") from None
    # The suffix stays, since Keras chooses the format by it ("-": ".weights.h5" would be another).
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(3)}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if disk_is_full(error):
            raise UserError(
                f"no space left on the disk while writing {path}; earlier results are intact"
            ) from error
        raise


def clean(folder: Path) -> None:
    """Remove what killed processes left half-written; nobody else may be writing there."""
    for path in folder.glob(".*"):
        if TEMPORARY.match(path.name) and path.is_file():
            path.unlink()


def disk_is_full(error: BaseException) -> bool:
    """Whether the error, of whatever library, means that the disk or quota is full."""
    if isinstance(error, OSError) and error.errno in (28, 122):
        return True
    text = str(error).lower()
    return "no space left on device" in text or "errno = 28" in text


def save_npz(path: Path, **arrays: Any) -> None:
    """Write arrays to a .npz, atomically; not compressed, since weights and noise hardly are."""
    # Zipped in memory: a ZipFile cut off by a full disk complains once more when it is collected.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_npz(path: Path, again: str = f"delete it and {AGAIN}") -> dict[str, np.ndarray]:
    """Read a .npz whole; never unpickles.

    Raises:
        UserError: The file is missing or not a readable .npz; `again` says what to do.
    """
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UserError(f"{path}: not there; run the stage that writes it first") from None
    # A header that was damaged may ask for anything: too much memory, an attribute of Python.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: damaged ({reason}); {again}") from error


def save_text(path: Path, text: str) -> None:
    """Write text, atomically; what of a file's name is no text stands there as \\udcXX."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def load_text(path: Path, again: str = AGAIN) -> str:
    """Read text.

    Raises:
        UserError: The file is missing or not UTF-8; `again` says what to do.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not there") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: damaged ({error}); {again}") from None


def save_json(path: Path, value: Any) -> None:
    """Write JSON, atomically."""
    save_text(path, json.dumps(value, indent=2) + "\n")


def load_json(path: Path, again: str = AGAIN) -> Any:
    """Read JSON.

    Raises:
        UserError: The file is missing or is not JSON; `again` says what to do.
    """
    text = load_text(path, again)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged (not JSON: {error}); {again}") from None


def safe_name(text: str) -> str:
    """A name, read from anywhere, as the name of a file: never a path, no two names alike.

    ASCII letters, digits and `_-.` stay, spaces become `-`. Whatever else there is becomes `-`,
    too, and such a name, like one that is hidden or too long, ends in a digest of itself.
    """
    plain = text.replace(" ", "-")
    safe = re.sub(r"[^A-Za-z0-9_.-]", "-", plain)[:180].lstrip(".")
    return safe if safe and safe == plain else f"{safe}-{digest(text)[:6]}".lstrip("-")


def digest(*values: Any) -> str:
    """A short SHA-256 of JSON values and of the bytes of files (given as Path)."""
    sha = hashlib.sha256()
    for value in values:
        if isinstance(value, Path):
            sha.update(value.read_bytes())
        else:
            sha.update(json.dumps(value, sort_keys=True).encode())
    return sha.hexdigest()[:16]


def with_a_name(out: Path) -> Path:
    """A folder, such as `.` or `x/..`, by a path that ends in its name.

    Raises:
        UserError: The folder of all folders has none.
    """
    if out.name in ("", ".."):
        out = Path(os.path.abspath(out))
    if not out.name:
        raise UserError(f"{out}: expected a folder of its own, below others")
    return out


def beside(out: Path, name: str) -> Path:
    """A place beside a folder, its name made of the folder's in place of {}."""
    out = with_a_name(out)
    return out.with_name(name.format(out.name))
