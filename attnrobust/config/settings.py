"""Experiments from and to JSON, and typed `--set key=value`."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attnrobust.config.checking import require
from attnrobust.config.experiment import Experiment
from attnrobust.errors import UserError

# No number of an experiment is larger: counts go into 32 bits, and the rest is far below.
MOST = 2**31 - 1


def to_json(experiment: Experiment) -> str:
    """The experiment as JSON text; `from_json` gives an equal one back."""
    return json.dumps(dataclasses.asdict(experiment), indent=2)


def from_json(text: str) -> Experiment:
    """An experiment from `to_json`'s text.

    Raises:
        UserError: Not JSON; unknown field, wrong type or value out of range, by name.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON ({error})") from None
    return typing.cast(Experiment, _build(Experiment, values, where=""))


def with_settings(experiment: Experiment, settings: Iterable[str]) -> Experiment:
    """A copy with `key=value` settings put in, for example `training.epochs=2`.

    Values are read by the field's type; tuples are comma-separated; floats may be fractions
    such as `8/255`; `none` stands for None where the field allows it. Another `attack.name` leaves
    open what belongs to an attack's row, unless it is among the settings, too.

    Raises:
        UserError: No `=`, unknown field (with the known ones), value of another type.
    """
    values, settings = dataclasses.asdict(experiment), list(settings)
    for setting in _of_another_attack(experiment, settings) + settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: expected key=value, such as training.epochs=2")
        *sections, name = key.split(".")
        node, kind, where = values, typing.cast(type, Experiment), ""
        for section in sections:
            hint = _hints(kind, section, where)
            if not dataclasses.is_dataclass(hint):
                raise UserError(f"--set {key}: '{section}' holds no fields")
            node, kind, where = node[section], typing.cast(type, hint), section
        hint = _hints(kind, name, where)
        if dataclasses.is_dataclass(hint):
            fields = ", ".join(f"{name}.{f.name}" for f in dataclasses.fields(hint))
            raise UserError(f"--set {key}: name one of its fields: {fields}")
        node[name] = _parse(text, hint, key)
    return from_json(json.dumps(values))


def _of_another_attack(experiment: Experiment, settings: Sequence[str]) -> list[str]:
    """Settings that leave open what is not to be taken over from the attack that is replaced."""
    parts = [setting.partition("=") for setting in settings]
    names = [text for key, _, text in parts if key == "attack.name"]
    if not names or names[-1] == experiment.attack.name:
        return []
    fields = dataclasses.fields(experiment.attack)
    return [f"attack.{field.name}=none" for field in fields if field.metadata.get("optional")]


def _hints(kind: type, name: str, where: str) -> Any:
    hints = _known(kind)
    if name not in hints:
        owner = f" in {where}" if where else ""
        raise UserError(f"no field '{name}'{owner}; known: {', '.join(hints)}")
    return hints[name]


@functools.cache  # A page reads the settings of its runs hundreds of times.
def _known(kind: type) -> dict[str, Any]:
    """The type of each field, with None where it may be left open."""
    hints = typing.get_type_hints(kind)
    optional = {field.name: field.metadata.get("optional") for field in dataclasses.fields(kind)}
    return {name: hint | None if optional[name] else hint for name, hint in hints.items()}


def _options(hint: Any) -> tuple[list[Any], bool]:
    """The types of a hint, and whether None is one of them."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return [part for part in parts if part is not type(None)], type(None) in parts


def _parse(text: str, hint: Any, key: str) -> Any:
    (kind, *_), optional = _options(hint)
    if optional and text.lower() in ("none", ""):
        return None
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        return [_parse(part.strip(), inner, key) for part in text.split(",") if part.strip()]
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if kind is float and "/" in text:
            over, under = text.split("/")
            return float(over) / float(under)
        return kind(text)
    except (ValueError, KeyError, ZeroDivisionError):
        raise UserError(f"--set {key}={text}: expected {kind.__name__}") from None


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise UserError(f"{where or 'experiment'} = {values!r}: expected fields with values")
    arguments = {}
    for name, value in values.items():
        hint = _hints(kind, name, where)
        key = f"{where}.{name}" if where else name
        if dataclasses.is_dataclass(hint):
            arguments[name] = _build(typing.cast(type, hint), value, name)
        else:
            arguments[name] = _typed(value, hint, key)
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.name not in arguments
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where or 'experiment'}: missing field {', '.join(missing)}")
    return kind(**arguments)


def _typed(value: Any, hint: Any, key: str) -> Any:
    (kind, *_), optional = _options(hint)
    if value is None and optional:
        return None
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_typed(part, typing.get_args(kind)[0], key) for part in value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number:
        require(-MOST <= value <= MOST, key, value, f"a number from {-MOST:,} to {MOST:,}")
    if kind is float and number:
        return float(value)
    # A bool is an int to isinstance, but true is no number of epochs.
    alike = isinstance(value, bool) == (kind is bool)
    if isinstance(kind, type) and isinstance(value, kind) and alike:
        return value
    raise UserError(f"{key} = {value!r}: expected {getattr(kind, '__name__', kind)}")
