"""A model's file -> the keras.Model in it, as its author saved it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from tensorflow import keras

from attnrobust import config
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models.adopted import memory

EXPECTED = ".keras, .h5, a SavedModel folder or package.module:function"


def opened(adopted: config.Adopted) -> keras.Model:
    """The model as its author saved it.

    Raises:
        UserError: No such file, no model in it, or one that cannot be read here.
    """
    if adopted.file.startswith(memory.PREFIX):
        return memory.held(adopted.file)
    if _is_function(adopted.file):
        return _made(adopted.file)
    path = Path(adopted.file).expanduser()
    if not path.exists():
        raise UserError(f"{path}: no such file; expected {EXPECTED}")
    try:
        with keras.saving.custom_object_scope(_own(adopted.custom)):
            return keras.models.load_model(path, compile=False, safe_mode=not adopted.allow_code)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error


def image_size(adopted: config.Adopted) -> int | None:
    """Height and width of the images that the file demands; None where any will do.

    Raises:
        UserError: As `opened`; or height and width differ.
    """
    shape = opened(adopted).input_shape
    height, width = shape[1:3]
    if height != width:
        raise UserError(
            f"{adopted.file}: takes images of {height} x {width} pixels; expected as many rows as "
            "columns"
        )
    return None if height is None else int(height)


def digest(adopted: config.Adopted) -> str:
    """Content hash of the file, of all files of the folder, or of the function's source file."""
    if adopted.file.startswith(memory.PREFIX):
        return adopted.file.removeprefix(memory.PREFIX)
    if _is_function(adopted.file):
        module = _imported(adopted.file.partition(":")[0], adopted.file)
        return runs.digest(adopted.file, Path(str(module.__file__)))
    path = Path(adopted.file).expanduser()
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    named = [part for each in files for part in (str(each.relative_to(path)), each)]
    return runs.digest(*named)


def _is_function(file: str) -> bool:
    return ":" in file and not Path(file).expanduser().exists()


def _made(file: str) -> keras.Model:
    module, _, name = file.partition(":")
    function = getattr(_imported(module, file), name, None)
    if not callable(function):
        raise UserError(f"{file}: {module} has no function '{name}'")
    model = function()
    if not isinstance(model, keras.Model):
        raise UserError(f"{file}: expected a keras.Model, got {type(model).__name__}")
    return model


def _imported(module: str, where: str) -> ModuleType:
    """A module, also from the current folder."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{where}: cannot import {module} ({error})") from error


def _own(custom: tuple[str, ...]) -> dict[str, object]:
    """Layers of the author's own, by their names."""
    found = {}
    for each in custom:
        module, _, name = each.partition(":")
        if not hasattr(_imported(module, f"adopted.custom = {each}"), name):
            raise UserError(f"adopted.custom = {each}: {module} has no '{name}'")
        found[name] = getattr(_imported(module, each), name)
    return found
