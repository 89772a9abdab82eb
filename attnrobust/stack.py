"""Which of two sets of versions is at work, by the interpreter: the one place that knows of both.

Python 3.11: TensorFlow 2.15 with its Keras, tensorflow-addons and NumPy 1. Python 3.12 and 3.13:
TensorFlow 2.21 with tf-keras, the same Keras 2 under a name of its own (the Keras 3 that
TensorFlow brings along is not at work), and NumPy 2. requirements.txt pins both.

tensorflow-addons was never built for Python 3.12. `make` places its wheel there none the less: what
is used of it are operations of TensorFlow and plain Python. Where it is missing, the two functions
that call it do without (`attnrobust/data/warping.py`, `attnrobust/training/kappa.py`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from attnrobust.errors import UserError

PYTHONS = ("3.11", "3.12", "3.13")
NEW = sys.version_info >= (3, 12)
# The distribution whose code `tensorflow.keras` is.
KERAS = "tf-keras" if NEW else "keras"
ADDONS = "tensorflow_addons"
# What TensorFlow 2.21 says on file descriptor 2 each time it is loaded. TF_CPP_MIN_LOG_LEVEL cannot
# hide it: that is read afterwards.
CHATTER = (
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR\n"
    rb"|I0000 .*\bport\.cc:\d+\] oneDNN custom operations are on\."
    rb"|I0000 .*\bcudart_stub\.cc:\d+\] Could not find cuda drivers"
)
# A process of its own: what TensorFlow says before it dies of a signal is passed on all the same.
_READER = f"""
import re, sys
for line in sys.stdin.buffer:
    if not re.match({CHATTER!r}, line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""
# At work in stages whose stamps do not say: there was one set.
FIRST = {"tensorflow": "2.15.1", "keras": "2.15.0"}


def choose_keras() -> None:
    """Make `tensorflow.keras` Keras 2; to be called before it is first asked for."""
    if NEW:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        if _Quietly not in sys.meta_path:
            sys.meta_path.insert(0, _Quietly)


def quiet() -> None:
    """Silence what libraries say at import; to be called before TensorFlow starts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # The one place where tensorflow-addons' end-of-life notice is silenced; its last release is
    # pinned on purpose.
    warnings.filterwarnings("ignore", message="(?si).*TensorFlow Addons", category=UserWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def refuse_keras_3(model: object) -> None:
    """Raise a UserError for a model of Keras 3, which Keras 2 cannot take apart."""
    if "keras.src.models.model" in [each.__module__ for each in type(model).__mro__]:
        raise UserError(
            "model: made with Keras 3, expected Keras 2: import attnrobust first, which makes "
            "tensorflow.keras Keras 2, and build it anew; or model.export(FOLDER) and give FOLDER"
        )


def unfit() -> str:
    """What this Python lacks of a set, in one line; empty where one is there."""
    python = "{}.{}".format(*sys.version_info)
    if python not in PYTHONS:
        return f"this is Python {python}, expected one of {', '.join(PYTHONS)}"
    if not version(KERAS).startswith("2."):
        return (
            f"{sys.executable}: {KERAS} {version(KERAS)}, expected {KERAS} 2 beside TensorFlow: "
            "`make demo`, or pip install -e . in a venv"
        )
    return ""


def at_work() -> dict[str, str]:
    """Versions of TensorFlow and of the Keras at work; what they began, they must finish."""
    return {name: version(name) for name in ("tensorflow", KERAS)}


def other(before: Mapping[str, str]) -> str:
    """What was at work where it was not what is at work now, and this, in words; else empty."""
    now = at_work()
    if before == now:
        return ""
    old, new = (" and ".join(map(" ".join, each.items())) for each in (before, now))
    return f"{old} (now {new})"


def keras() -> str:
    """The Keras at work, such as `keras 2.15.0`."""
    return f"{KERAS} {version(KERAS)}"


def inside_keras(name: str) -> ModuleType:
    """A module of the Keras at work that `tensorflow.keras` does not show, as `protobuf`."""
    return importlib.import_module(f"{KERAS.replace('-', '_')}.{name}")


def version(name: str) -> str:
    """Of an installed package; else `not installed`."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def has_addons() -> bool:
    """Whether tensorflow-addons is installed."""
    return importlib.util.find_spec(ADDONS) is not None


def addons() -> ModuleType | None:
    """tensorflow-addons; None where it is not installed."""
    if ADDONS not in sys.modules:
        if not has_addons():
            return None
        with _tf_keras_as_keras() if NEW else contextlib.nullcontext():
            importlib.import_module(ADDONS)
    return sys.modules[ADDONS]


@contextlib.contextmanager
def _tf_keras_as_keras() -> Iterator[None]:
    """What tensorflow-addons imports from inside Keras, `keras.src…`, is tf-keras' meanwhile."""
    importlib.import_module("tf_keras")
    others = {name: sys.modules.pop(name) for name in _below("keras")}
    sys.modules.update({name.removeprefix("tf_"): sys.modules[name] for name in _below("tf_keras")})
    try:
        yield
    finally:
        for name in _below("keras"):
            del sys.modules[name]
        sys.modules.update(others)


def _below(package: str) -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == package]


class _Quietly:
    """A finder of modules: TensorFlow is loaded without its chatter where its log shall hide INFO.

    In every process that imports attnrobust, since the level is in the environment of them all.
    """

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of TensorFlow alone; None leaves all others to the next finder."""
        if name != "tensorflow" or os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") == "0":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with _without_chatter():
                    load(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """All that is written to stderr meanwhile, but for the chatter, line by line."""
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    try:
        reader = subprocess.Popen(
            [sys.executable, "-IS", "-c", _READER],
            stdin=subprocess.PIPE,
            stdout=kept,
            start_new_session=True,  # not for Ctrl-C, which ends whoever writes
        )
    except OSError:
        os.close(kept)
        yield
        return
    assert reader.stdin
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        # It ends with the last that writes, which is a process begun meanwhile where there is one.
        with contextlib.suppress(subprocess.TimeoutExpired):
            reader.wait(5)
