"""The viewer's section: data, code and looks in one piece of markup."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from attnrobust.report.blocks import Asked, Live, Section
from attnrobust.report.results import Result
from attnrobust.report.viewer import data

WORDS = (
    "Choose a model, or two, and an image; the slider over ε changes the image, its perturbation, "
    "the heatmap or mask and what the model says at once. The address of the page keeps what is "
    "shown."
)
WITHOUT = (
    "The viewer needs JavaScript. All numbers stand in the tables below, and the figures show what "
    "it would."
)
SCRIPTS = ("base.js", "panel.js", "curves.js", "strip.js", "main.js")


def section(results: Sequence[Result], _: Asked) -> Section | None:
    """Every image that was attacked, at every epsilon; nothing where none was."""
    found = data.read(results)
    return Section("viewer", "Look for yourself", (WORDS, Live(markup(found)))) if found else None


def markup(found: dict[str, Any]) -> Markup:
    """The viewer over these data; text in them stays text."""
    return Markup(
        '<div id="viewer-root" class="viewer"></div>\n<noscript><p>{}</p></noscript>\n'
        '<script type="application/json" id="viewer-data">{}</script>\n'
        "<script>\n(() => {{\n{}}})();\n</script>"
    ).format(WITHOUT, escaped(found), Markup("".join(map(source, SCRIPTS))))


def escaped(values: dict[str, Any]) -> Markup:
    """JSON that ends no script element and opens no comment in it, whatever text it holds."""
    words = json.dumps(values, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        words = words.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(words)


def source(name: str) -> str:
    """A file of code or looks beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
