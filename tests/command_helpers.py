"""The commands that a page prints, run as far as the first stage."""

from __future__ import annotations

import dataclasses
import html
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import experiments
from attnrobust import cli as program
from attnrobust import config
from attnrobust.stages.context import Context

NAME = "demo.resnet18_gap"


class Called(NamedTuple):
    """What a command of an experiment asks for."""

    context: Context
    stages: list[str]


def again(experiment: config.Experiment) -> list[str]:
    """Name and options that make this experiment out of another one."""
    base = experiments.load(NAME)
    before, now = (_flat(dataclasses.asdict(each)) for each in (base, experiment))
    changes = [f"{key}={_text(now[key])}" for key in now if now[key] != before[key]]
    return [
        NAME,
        *(word for each in changes if not each.startswith("seed=") for word in ("--set", each)),
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        deeper = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if deeper else {prefix + key: value}
    return flat


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def commands(text: str) -> list[str]:
    """Every command of a page, each once; one that stands in a sentence ends before its end."""
    found = re.findall(r"python3? -m [^\n<]+", html.unescape(text))
    return list(dict.fromkeys(each.strip() for line in found for each in line.split(" && ")))


def call(command: str, monkeypatch: pytest.MonkeyPatch) -> Called | None:
    """Run it: an experiment's up to its walk, which is given back; a report's wholly."""
    _, _, module, *words = shlex.split(command)
    if module == "experiments":  # As a run that was called so remembers it.
        module, words = "attnrobust", ["run", *words]
    assert module == "attnrobust"
    if words[0] != "run":
        assert program.main(words) == 0, command
        return None
    seen: list[Called] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            "attnrobust.run.run_stages",
            lambda context, stages: seen.append(Called(context, stages)),
        )
        assert program.main(words) == 0, command
    (called,) = seen
    return called


def all_of(text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Called]:
    """Run every command of a page; what those of experiments ask for."""
    made = {each: call(each, monkeypatch) for each in commands(text)}
    return {each: called for each, called in made.items() if called}


def roots(called: dict[str, Called]) -> set[Path]:
    """The run folders that commands are about."""
    return {each.context.run.root for each in called.values()}
