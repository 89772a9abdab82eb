"""Sections of the page: it draws every kind of block, and knows none of them by name."""

from __future__ import annotations

import re
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from test_report import make_run

from attnrobust.disk.runs import load_json, save_json
from attnrobust.report import blocks, page, provenance, reading, sections
from attnrobust.report.album import Album
from attnrobust.report.blocks import Asked, Section, Table
from attnrobust.report.pictures import Picture

pytestmark = pytest.mark.usefixtures("cheap_pages")


def table(name: str) -> Table:
    return Table(
        name, f"caption of {name}", ("a",), (("row of " + name,),), pd.DataFrame({"a": [1]})
    )


def picture(name: str) -> Picture:
    return Picture(name, np.zeros((4, 4, 3), np.uint8), f"alt {name}", f"caption of {name}", 4)


ALL: tuple[blocks.Block, ...] = (
    "some <words>",
    blocks.Note("small print"),
    blocks.Heading("inside"),
    blocks.Verbatim("as  it is"),
    blocks.Points(("one point", "another")),
    blocks.Facts((("name", "value"),)),
    blocks.Findings(("head",), (("sound",), ("shaky",)), frozenset({1})),
    picture("first"),
    table("first"),
    blocks.Details("opens", (picture("second"), table("second")), open=True),
    picture("third"),
    table("third"),
    blocks.Live(Markup("<i>lives</i>")),
)


def test_every_kind_of_block_is_drawn_and_numbered_in_the_pages_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {type(block) for block in ALL} == set(typing.get_args(blocks.Block))
    made = Section(
        "mine", "My own", iter(ALL), {"more": pd.DataFrame()}, summary=("said at first",)
    )
    monkeypatch.setattr(sections, "SECTIONS", (lambda results, asked: made, lambda *_: None))
    text = page.write([make_run(tmp_path)], tmp_path / "out").read_text(encoding="utf-8")
    for part in (
        "<p>some &lt;words&gt;</p>",
        '<p class="note">small print</p>',
        "<h3>inside</h3>",
        "<pre>as  it is</pre>",
        "<li>one point</li>\n<li>another</li>",
        '<tr><th scope="row">name</th><td>value</td></tr>',
        '<tr class="warn"><th scope="row">shaky</th></tr>',
        "<details open>\n<summary>opens</summary>",
        "<i>lives</i>",
        '<a href="#mine">My own</a>',
        '<section id="mine">\n<h2>My own</h2>',
        *(f"<b>Figure {n}.</b> caption of {name}" for n, name in NUMBERED),
        *(f"<b>Table {n}.</b> caption of {name}" for n, name in NUMBERED),
    ):
        assert part in text, part
    assert text.index("said at first") < text.index("<nav")
    tables = {path.stem for path in (tmp_path / "out" / "tables").iterdir()}
    assert tables == {"measurements", "more", "first", "second", "third"}
    assert {path.stem for path in (tmp_path / "out" / "figures").iterdir()} == {
        "first",
        "second",
        "third",
    }


NUMBERED = tuple(enumerate(("first", "second", "third"), 1))


def test_the_album_numbers_what_it_writes_and_photographs_keep_to_their_bytes(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with ThreadPoolExecutor(2) as pool:
        album = Album(tmp_path, limit=2000, pool=pool)
        curve = album.add(Picture("curve", noise, "alt", "caption", 32))
        photo = album.add(Picture("photo", noise, "alt", "caption", 32, photo=True))
        far = album.add(Picture("far", noise, "alt", "caption", 32, photo=True, linked=True))
    assert (curve.number, photo.number) == (1, 2)
    assert (curve.width, curve.height) == (32, 32), "64 pixels at 32 wide"
    assert curve.source.startswith("data:image/webp")
    assert len(photo.source) < 2000 * 4 / 3 + 30 < len(curve.source), "curves lose nothing"
    assert far.source == "figures/far.png"
    assert album.names == ["curve.png", "photo.png", "far.png"]
    assert (tmp_path / "photo.png").read_bytes()[:4] == b"\x89PNG"


def test_splits_are_counted_once_for_the_same_records(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name) for name in ("one", "two", "three")]
    (alike,) = provenance.splits(reading.read(runs))
    assert alike.rows == (("nevus", "20"), ("melanoma", "20"), ("all", "40"))
    place = runs[2].path("provenance.json")
    known = load_json(place)
    known["dataset"]["splits"]["test"] = {"count": 3, "class_counts": {"nevus": 1, "melanoma": 2}}
    save_json(place, known)
    first, second = provenance.splits(reading.read(runs))
    assert "(records of one, two)" in first.caption
    assert "(records of three)" in second.caption
    assert second.rows == (("nevus", "1"), ("melanoma", "2"), ("all", "3"))
    assert (first.name, second.name) == ("splits-demo", "splits-demo-2")


def test_page_and_template_name_no_section(tmp_path: Path) -> None:
    results = reading.read([make_run(tmp_path)])
    found = sections.read(results, Asked(tmp_path))
    assert len(found) > 5
    code = Path(page.__file__)
    template = code.with_name("page.html.j2").read_text()
    for part in found:
        assert not re.search(rf"""["'#]{part.anchor}\b""", template), part.anchor
        assert part.title not in template + code.read_text()
