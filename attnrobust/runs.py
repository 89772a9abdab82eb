"""The run directory: paths, atomic save and load, stage stamps, provenance. No TensorFlow."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from attnrobust import config
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

PACKAGES = ("tensorflow", "keras", "tensorflow-addons", "tf-keras-vis", "foolbox", "numpy",
            "opencv-python", "scikit-learn", "pandas")  # fmt: skip


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it at the end, removed on any failure.

    Raises:
        UserError: The disk is full; what stood at `path` before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, since Keras chooses the format by it ("-": ".weights.h5" would be another).
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
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


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Read a .npz whole; never unpickles.

    Raises:
        UserError: The file is missing or not a readable .npz.
    """
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UserError(f"{path}: not there; run the stage that writes it first") from None
    except (ValueError, TypeError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile,
            zlib.error) as error:  # fmt: skip
        raise UserError(f"{path}: damaged ({error}); delete it and run its stage again") from error


def save_text(path: Path, text: str) -> None:
    """Write text, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_json(path: Path, value: Any) -> None:
    """Write JSON, atomically."""
    save_text(path, json.dumps(value, indent=2) + "\n")


def load_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not there") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None


def digest(*values: Any) -> str:
    """A short SHA-256 of JSON values and of the bytes of files (given as Path)."""
    sha = hashlib.sha256()
    for value in values:
        if isinstance(value, Path):
            sha.update(value.read_bytes())
        else:
            sha.update(json.dumps(value, sort_keys=True).encode())
    return sha.hexdigest()[:16]


def attack_file(name: str, epsilon: float) -> str:
    """File name of an attack's results at one epsilon (0: the clean condition)."""
    return f"{name}-{epsilon:g}.npz"


class Run:
    """One experiment with one seed on disk.

    Attributes:
        root: `runs/<dataset>/<experiment>/seed-<n>`.
        experiment: What it does, as saved in `config.json`.
    """

    def __init__(self, root: Path, experiment: config.Experiment) -> None:
        self.root = root
        self.experiment = experiment

    @classmethod
    def of(cls, experiment: config.Experiment, runs: Path) -> Run:
        """The run's place below `runs`; nothing is written."""
        folder = runs / experiment.data.dataset / experiment.name / f"seed-{experiment.seed}"
        return cls(folder, experiment)

    @classmethod
    def open(cls, root: Path) -> Run:
        """An existing run.

        Raises:
            UserError: No `config.json` there, or not one of this version.
        """
        path = root / "config.json"
        if not path.is_file():
            raise UserError(f"{root}: no run there (config.json is missing)")
        text = json.dumps(load_json(path))
        try:
            return cls(root, config.from_json(text))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    def path(self, *parts: str) -> Path:
        """A path inside the run."""
        return self.root.joinpath(*parts)

    @contextlib.contextmanager
    def stage(
        self,
        name: str,
        *,
        used: Mapping[str, Any],
        inputs: str = "",
        force: bool = False,
        writes: bool = True,
    ) -> Iterator[Path | None]:
        """The stage's folder while it works, or None where its result already stands.

        On a clean exit the stamp `stage.json` is marked finished. A stage that was cut off keeps
        its folder, so that it resumes.

        Args:
            name: Stage and folder.
            used: The part of the configuration that the result depends on (JSON values).
            inputs: Digest of what it reads.
            force: Make it anew, whatever stands there.
            writes: False for a helping worker: another process writes the stamp.

        Raises:
            UserError: Results of another configuration or input stand there and `force` is off.
        """
        folder, stamp = self.path(name), self.path(name, "stage.json")
        used = json.loads(json.dumps(used))
        if force and folder.exists():
            shutil.rmtree(folder)
        if stamp.exists():
            before = load_json(stamp)
            if before["used"] != used or before["inputs"] != inputs:
                raise UserError(
                    f"{folder} was made with {_difference(before, used)}; add --force to make it "
                    "anew, or give this run a name of its own with --set name=…"
                )
            if before["finished"]:
                log.info("%s: done before, kept (%s)", name, folder)
                yield None
                return
            log.info("%s: going on where it was cut off", name)
        record = {"used": used, "inputs": inputs, "finished": False}
        if not writes:
            yield folder
            return
        save_json(self.path("config.json"), json.loads(config.to_json(self.experiment)))
        save_json(stamp, record)
        start = time.monotonic()
        yield folder
        seconds = round(time.monotonic() - start, 1)
        save_json(stamp, {**record, "finished": True, "seconds": seconds})
        log.info("%s: done in %.1f s", name, seconds)

    def require(self, name: str) -> Path:
        """The folder of a finished stage.

        Raises:
            UserError: The stage has not finished.
        """
        stamp = self.path(name, "stage.json")
        if not stamp.exists() or not load_json(stamp)["finished"]:
            raise UserError(f"{self.root}: run '{name}' first")
        return self.path(name)

    def seconds(self, name: str) -> float | None:
        """How long a finished stage took, or None."""
        stamp = self.path(name, "stage.json")
        return load_json(stamp).get("seconds") if stamp.exists() else None


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """All runs at or below the paths, sorted by place, each once.

    Raises:
        UserError: A path holds no run.
    """
    found: dict[Path, Run] = {}
    for path in paths:
        roots = sorted(file.parent for file in path.rglob("config.json"))
        if not roots:
            raise UserError(f"{path}: no run there or below (config.json is missing)")
        found |= {root.resolve(): Run.open(root) for root in roots}
    return list(found.values())


def _difference(before: Mapping[str, Any], used: Mapping[str, Any]) -> str:
    """What changed since a stage was made, in words."""
    old, new = _flat(before["used"]), _flat(used)
    changes = [
        f"{key} {json.dumps(old.get(key))} (now {json.dumps(new.get(key))})"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    return ", ".join(changes) if changes else "other inputs (records or weights have changed)"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def provenance(*, dataset_hash: str, devices: list[str]) -> dict[str, Any]:
    """Where a run comes from: command, code revision, versions, machine, data."""
    return {
        "command": " ".join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "revision": _revision(),
        "python": platform.python_version(),
        "packages": versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "devices": devices,
        "dataset_hash": dataset_hash,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages the results depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _revision() -> str:
    """The git revision of the code, with + where files were changed; 'unknown' outside git."""
    here = Path(__file__).parent
    try:
        revision, changed = (
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return revision + ("+" if changed else "")
