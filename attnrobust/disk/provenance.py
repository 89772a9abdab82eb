"""Where a run comes from: command, code revision, versions, machine, data."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from attnrobust import stack
from attnrobust.version import __version__

PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-addons",
    "tf-keras-vis",
    "foolbox",
    "numpy",
    "opencv-python",
    "scikit-learn",
    "pandas",
)


def command() -> str:
    """The command line of this process."""
    return shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]])


def provenance(*, dataset_hash: str, devices: list[str], started: str) -> dict[str, Any]:
    """Where a run comes from: command, code revision, versions, machine, data.

    Args:
        dataset_hash: Of the records.
        devices: What it trained on.
        started: When training did, as its stamp says.
    """
    return {
        "command": command(),
        "revision": _revision(),
        "python": platform.python_version(),
        "packages": versions(),
        "keras": stack.keras(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "devices": devices,
        "dataset_hash": dataset_hash,
        "started": started,
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages the results depend on."""
    return {package: stack.version(package) for package in PACKAGES}


def _revision() -> str:
    """The git revision of the code, with + where files were changed; the version outside git."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():  # Installed; another project's git may be around it.
        return f"version {__version__}"
    try:
        revision, changed = (
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"
    return revision + ("+" if changed else "")
