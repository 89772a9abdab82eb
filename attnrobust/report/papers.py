"""Papers as data: the files of `experiments/papers/`, read, checked, and asked of runs."""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import re
import string
import tomllib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from attnrobust.config import Data, Experiment, lookup, with_settings
from attnrobust.corruptions import CORRUPTIONS
from attnrobust.disk import schemas
from attnrobust.errors import UserError
from attnrobust.measures.metrics import METRICS
from attnrobust.report.paper_kinds import (
    Condition,
    Drawn,
    Paper,
    Plain,
    Published,
    Rows,
    Shown,
    Strength,
    Transfer,
    Where,
)
from attnrobust.report.results import Result, key

AGAIN = "report/paper_kinds.py says what a paper's file holds"
# The last three of corrupted or attacked images alone.
KNOWN_METRICS = dict.fromkeys(
    (*METRICS, "accuracy_drop", "attack_success_rate", "prediction_change_rate")
)


def read() -> dict[str, Paper]:
    """Every paper of `experiments/papers/`, by the name of its file, in alphabetical order.

    Raises:
        UserError: A file that is damaged or names what there is not; file and key are named.
    """
    return _read(folder())


def folder() -> Path:
    """Where the files are, of a checkout and of an installed package alike."""
    return Path(str(importlib.resources.files("experiments"))) / "papers"


def claims(of: str) -> str:
    """What papers claim about something, a paragraph each; empty where none does."""
    return "\n".join(paper.claims[of] for paper in read().values() if of in paper.claims)


@functools.cache
def _read(place: Path) -> dict[str, Paper]:
    return {path.stem: load(path) for path in sorted(place.glob("*.toml"))}


def load(path: Path) -> Paper:
    """One file; raises as `read` does."""
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
        paper = msgspec.convert(value, Paper)
        with _at(str(path)):
            require_settings(value, "")
            _require_known(paper)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise schemas.damaged(path, error, AGAIN) from None
    return paper


def place(rows: Rows, result: Result) -> str:
    """The name of the row that a run stands in; empty where it stands in none."""
    if not holds(rows.where, result):
        return ""
    words = [_filled(part.text, result) for part in rows.parts if holds(part.where, result)]
    return rows.join.join(words) or rows.otherwise


def stands(
    paper: Paper, parts: Sequence[Shown], results: Sequence[Result]
) -> dict[str, dict[tuple[Path, str], str]]:
    """Of each table and figure, by its name, the rows that results stand in, by their keys."""
    named = {
        name: {each.key: place(paper.rows[name], each) for each in results}
        for name in dict.fromkeys(part.rows for part in parts)
    }
    return {
        part.name: {
            each.key: named[part.rows][each.key]
            for each in results
            if named[part.rows][each.key] and holds(part.where, each)
        }
        for part in parts
    }


def as_theirs(paper: Paper, result: Result) -> bool:
    """Whether a run was attacked as the paper attacks, at whatever epsilons."""
    attack = paper.attack
    return attack is not None and result.norm == attack.norm and holds(attack.where, result)


def epsilons(attack: Strength) -> list[str]:
    """The epsilons of a paper's attack, as results have them for keys."""
    return [_text(each) for each in attack.epsilons]


def holds(where: Where, result: Result) -> bool:
    """Whether a run has these settings; where there are several sets, one of them."""
    if isinstance(where, list):
        return any(holds(each, result) for each in where)
    return all(_meets(test, value_of(name, result)) for name, test in where.items())


def value_of(name: str, result: Result) -> Any:
    """A setting of the run (`training.loss`), of the attack at hand, or what else is ASKED."""
    section, _, field = name.partition(".")
    if name in ASKED:
        return ASKED[name](result)
    if section == "records":
        return _records(result).get(field)
    if section == "attack":
        return getattr(result.setting, field)
    found = getattr(result.run.experiment, section)
    return getattr(found, field) if field else found


def _meets(test: Plain | Condition, value: Any) -> bool:
    if not isinstance(test, Condition):
        return _text(test) == _text(value)
    listed = value if isinstance(value, list | tuple) else []
    asked = (
        (test.one_of, lambda any_of: _text(value) in map(_text, any_of)),
        (test.starts, lambda any_of: str(value).startswith(tuple(any_of))),
        (test.has, lambda one: one in listed),
        (test.same, lambda all_of: set(listed) == set(all_of)),
        (test.empty, lambda empty: empty == _is_empty(value)),
        (test.negated, lambda other: not _meets(other, value)),
    )
    return all(ask(said) for said, ask in asked if said is not None)


def _is_empty(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str | list | tuple) and not value)


def _text(value: Any) -> str:
    """As a file spells it, so that neither rounding nor 8/255 is a difference."""
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    if isinstance(value, str) and re.fullmatch(r"[\d.]+/[\d.]+", value):
        over, under = map(float, value.split("/"))
        return key(over / under)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return key(value) if number else str(value)


def _filled(text: str, result: Result) -> str:
    parts = string.Formatter().parse(text)
    return "".join(
        said + (_text(value_of(name, result)) if name else "") for said, name, *_ in parts
    )


def _records(result: Result) -> Mapping[str, Any]:
    return result.provenance["dataset"].get("corrupted") or {}


def require_settings(value: Any, where: str) -> None:
    """Raise unless every setting exists that a condition or a row's name asks for."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            require_settings(each, f"{where}[{index}]")
    if not isinstance(value, dict):
        return
    for name, each in value.items():
        inside = f"{where}.{name}".removeprefix(".")
        if name in ("where", "runs"):
            for conditions in each if isinstance(each, list) else [each]:
                _require_names(conditions, inside)
        elif name == "text":
            _require_names(
                (field for _, field, *_ in string.Formatter().parse(each) if field), inside
            )
        else:
            require_settings(each, inside)


def _require_names(names: Iterable[str], where: str) -> None:
    for name in names:
        with _at(where):
            lookup("setting", _beside(name), name)


def _beside(name: str) -> dict[str, None]:
    """What is known of a setting's section; of all, where there is no such section."""
    section, dot, _ = name.partition(".")
    return {each: None for each in KNOWN if dot and each.startswith(section + dot)} or KNOWN


def _require_known(paper: Paper) -> None:
    """Raise unless every row, metric, corruption and model that is named exists."""
    for s, chapter in enumerate(paper.sections):
        for kind in ("tables", "figures"):
            for t, part in enumerate(getattr(chapter, kind)):
                with _at(f"sections[{s}].{kind}[{t}] ({part.name})"):
                    _require_part(paper, part)
    if paper.statements:
        models = {model.name: model for model in paper.statements.models}
        for o, about in enumerate(paper.statements.of):
            for said in about.said:
                with _at(f"statements.of[{o}].said"):
                    lookup("model", models, said.model)
    if paper.transfer:
        _require_transfer(paper.transfer)


def _require_transfer(transfer: Transfer) -> None:
    """Raise unless its attacks can be set and each model has a number for each of each model."""
    for name, words in transfer.attacks.items():
        with _at(f"transfer.attacks.{name}"):
            with_settings(Experiment("paper", Data("paper")), words)
    expected = dict.fromkeys(transfer.attacks, len(transfer.models))
    for model in transfer.models:
        if (found := {name: len(each) for name, each in model.accuracy.items()}) != expected:
            raise UserError(f"transfer, {model.name}: {found} numbers, expected {expected}")


def _require_part(paper: Paper, part: Published | Drawn) -> None:
    lookup("rows", paper.rows, part.rows)
    for row in part.needs:
        lookup("row", dict.fromkeys(part.shown if isinstance(part, Drawn) else part.values), row)
    if isinstance(part, Drawn):
        lookup("metric", KNOWN_METRICS, part.metric)
        attacked = True
    else:
        _require_columns(part)
        attacked = any(column.condition == "attack" for column in part.columns)
    if attacked and not paper.attack:
        raise UserError("there is no [attack] in this file, which it is measured under")


def _require_columns(table: Published) -> None:
    for column in table.columns:
        with _at(f"column '{column.title}'"):
            lookup("metric", KNOWN_METRICS, column.metric)
            if column.condition == "setting":
                lookup("setting", _beside(column.name), column.name)
            if column.condition == "corruption":
                lookup("corruption", CORRUPTIONS, column.name)
                most = 5 if column.metric == "accuracy" else 1
                if not 1 <= len(column.severities) <= most:
                    raise UserError("severities: expected one, or of accuracy one or more")
    for row, values in table.values.items():
        if len(values) != len(table.columns):
            raise UserError(
                f"values '{row}': {len(values)} of them, expected one a column, "
                f"{len(table.columns)}"
            )


@contextlib.contextmanager
def _at(where: str) -> Iterator[None]:
    """What goes wrong inside names the place in the file, too."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _settings() -> Iterator[str]:
    """Every setting of an experiment by its dotted name."""
    for section, hint in typing.get_type_hints(Experiment).items():
        if hasattr(hint, "__dataclass_fields__"):
            yield from (f"{section}.{field.name}" for field in fields(hint))
        else:
            yield section


# What a run is asked beside its settings.
ASKED: dict[str, Callable[[Result], Any]] = {
    "attack.norm": lambda result: result.norm,
    "measured.corruptions": lambda result: list(result.corrupted),
    "records.corrupted": lambda result: bool(_records(result)),
    "run.elsewhere": lambda result: result.run.elsewhere(),
}
# What its training records said of themselves; None where they did not.
RECORDS = ("corruptions", "levels", "splits", "oversampled", "seed")
KNOWN = dict.fromkeys((*_settings(), *(f"records.{name}" for name in RECORDS), *ASKED))
