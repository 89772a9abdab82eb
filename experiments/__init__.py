"""EXPERIMENTS: one file each, `experiments/<dataset>/<backbone>_<head>.py`."""

from pathlib import Path


def known() -> list[str]:
    """All of them as `<dataset>.<name>`, in alphabetical order."""
    files = Path(__file__).parent.glob("*/[!_]*.py")
    return sorted(f"{path.parent.name}.{path.stem}" for path in files)
