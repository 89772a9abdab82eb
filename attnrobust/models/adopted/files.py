"""A model's file -> the keras.Model in it, as its author saved it."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tensorflow import keras

from attnrobust import config, stack
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models.adopted import memory, safety, served

# How Keras says that it does not know a name.
UNKNOWN = re.compile(
    r"(?:Unknown \w+(?: function)?|Could not locate \w+|Could not deserialize \w+):? ['\"]?(\w+)"
)


def opened(adopted: config.Adopted, again: str = "") -> keras.Model:
    """The model as its author saved it; nothing runs that the file holds unless it is allowed to.

    Args:
        adopted: The file, the author's own layers, whether code may run.
        again: What to do where it cannot be read, for the message.

    Raises:
        UserError: No such file, no model in it, or one that cannot be read here.
    """
    if adopted.file.startswith(memory.PREFIX):
        return memory.held(adopted.file)
    if _is_function(adopted.file):
        return _made(adopted.file)
    path = Path(adopted.file).expanduser()
    kind = safety.kind_of(path)
    own = _own(adopted.custom)
    if kind in ("saved_model", "served"):
        safety.require_graph(path, adopted)
    if kind == "served":
        return served.opened(path)
    descriptions, version = safety.described(path, kind)
    safety.require(path, descriptions, adopted)
    try:
        with keras.saving.custom_object_scope(own):
            return keras.models.load_model(path, compile=False, safe_mode=not adopted.allow_code)
    except Exception as error:
        # Whatever Keras raises: a file that it cannot read is a matter of the file.
        raise _unreadable(path, error, version, again) from error


def digest(adopted: config.Adopted) -> str:
    """Content hash of the file, of all files of the folder, or of the function's source file."""
    if adopted.file.startswith(memory.PREFIX):
        return adopted.file.removeprefix(memory.PREFIX)
    if _is_function(adopted.file):
        module = _imported(adopted.file.partition(":")[0], adopted.file)
        return runs.digest(adopted.file, Path(str(module.__file__)))
    path = Path(adopted.file).expanduser()
    safety.kind_of(path)
    if path.is_file():
        return runs.digest(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return runs.digest(*(part for each in files for part in (str(each.relative_to(path)), each)))


def _unreadable(path: Path, error: Exception, version: str, again: str) -> UserError:
    line = " ".join(str(error).split())
    remedy = f"; {again}" if again else ""
    if version and not version.startswith("2."):
        return UserError(
            f"{path}: written by Keras {version}, and {stack.keras()} cannot read it; there, "
            "write a SavedModel (model.export('folder')) and give that folder, or give "
            f"package.module:function that builds the network{remedy}"
        )
    name = UNKNOWN.search(line)
    if name and name[1] == "function":
        return UserError(
            f"{path}: names a function of its author's own, which {stack.keras()} cannot read from "
            f"an .h5 file; {safety.KERAS}{remedy}"
        )
    if name:
        return safety.unknown(path, name[1])
    return UserError(f"{path}: Keras cannot read it ({line[:300]}){remedy}")


def _is_function(file: str) -> bool:
    return ":" in file and not Path(file).expanduser().exists()


def _made(file: str) -> keras.Model:
    module, _, name = file.partition(":")
    function = getattr(_imported(module, file), name, None)
    if not callable(function):
        raise UserError(f"{file}: {module} has no function '{name}'")
    try:
        model = function()
    except Exception as error:
        # The user's own code.
        raise UserError(
            f"{file}: raised {type(error).__name__} ({' '.join(str(error).split())[:300]})"
        ) from error
    if not isinstance(model, keras.Model):
        raise UserError(f"{file}: expected a keras.Model, got {type(model).__name__}")
    return model


def _imported(module: str, where: str) -> ModuleType:
    """A module, also from the current folder."""
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{where}: cannot import {module} ({error})") from error


def _own(custom: tuple[str, ...]) -> dict[str, Any]:
    """Layers and functions of the author's own, by their names."""
    found = {}
    for each in custom:
        module, _, name = each.partition(":")
        loaded = _imported(module, f"--custom {each}")
        if not hasattr(loaded, name):
            raise UserError(f"--custom {each}: {module} has no '{name}'")
        found[name] = getattr(loaded, name)
    return found
