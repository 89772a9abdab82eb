"""What the page says of the sanity checks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from attnrobust import runs
from attnrobust.errors import UserError
from attnrobust.report import trust


def row(name, status):
    return {"name": name, "title": f"{name} holds", "status": status, "said": f"{name} 0.5",
            "meaning": f"{name} is bad"}  # fmt: skip


def result(folder: Path, name: str, rows=None):
    """As much of a result as the section needs."""
    if rows is not None:
        value = {"attack": "linf_pgd", "epsilon": 0.00125, "images": 80, "checks": rows}
        runs.save_json(folder / name / "checks.json", value)
    return SimpleNamespace(attack="linf_pgd", label=name, group=("demo", name), key=(name, "a"),
                           path=lambda *parts: folder / name / parts[-1])  # fmt: skip


def test_warnings_come_first_and_reach_the_first_screen(tmp_path):
    shaky = result(tmp_path, "shaky", [row("a", "pass"), row("b", "note"), row("c", "warn")])
    sound = result(tmp_path, "sound", [row("a", "pass"), row("c", "pass")])
    found = trust.read([shaky, sound])
    assert [each["name"] for each in found[0].rows] == ["c", "b", "a"]
    assert found[0].heading == "shaky: 1 of 2 raise doubt (80 images, ε\u00a0=\u00a00.00125)"
    assert found[1].heading.startswith("sound: all 2 pass (80 images")
    said = trust.sentences([shaky, sound], found)
    assert said == ["Warning: on shaky these checks of the attack fail: c holds."]


def test_what_was_not_checked_is_said(tmp_path):
    sound = result(tmp_path, "sound", [row("a", "pass")])
    never = result(tmp_path, "never")
    assert trust.sentences([sound], trust.read([sound])) == [
        "All sanity checks of the attacks pass."
    ]
    (said,) = trust.sentences([sound, never], trust.read([sound, never]))
    assert said == "1 of 2 attacked runs have no sanity checks."


def test_a_damaged_file_is_one_line(tmp_path):
    broken = result(tmp_path, "broken", [{"name": "a"}])
    with pytest.raises(UserError, match=r"checks\.json: damaged; delete it and run 'check' again"):
        trust.read([broken])
