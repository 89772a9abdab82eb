"""What stands beside the page for papers: tables as LaTeX, curves as PDF and SVG."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from markupsafe import Markup
from page_helpers import answered
from test_report import make_run
from test_report_pairs import FIRST, SECOND

from attnrobust.disk.runs import load_json
from attnrobust.report import latex, pictures
from attnrobust.report.blocks import Table
from attnrobust.report.page import write


def table(*rows: tuple[str, ...]) -> Table:
    return Table(
        "a-table",
        "100 % of R&D_1.",
        ("ε", "one", "other"),
        rows,
        pd.DataFrame(rows),
        (("", 1), ("right", 2)),
    )


def test_a_table_of_booktabs() -> None:
    assert latex.booktabs(table(("0.00125", "0.5 ± 0.1", "−0.1"))) == (
        "% \\usepackage{booktabs}\n"
        "\\begin{table}\n"
        "\\centering\n"
        "\\caption{100 \\% of R\\&D\\_1.}\n"
        "\\label{tab:a-table}\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "\\multicolumn{1}{c}{} & \\multicolumn{2}{c}{right} \\\\\n"
        "\\cmidrule(lr){2-3}\n"
        "$\\varepsilon$ & one & other \\\\\n"
        "\\midrule\n"
        "0.00125 & 0.5 $\\pm$ 0.1 & $-$0.1 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\end{table}\n"
    )


def test_no_text_becomes_a_command() -> None:
    hostile = "\\input{/etc/passwd} $x$ #1 a&b ~^ {%"
    line = latex.booktabs(table((hostile, Markup("<b>p &amp; q</b>"), "a\nb"))).splitlines()[11]
    assert line == (
        r"\textbackslash{}input\{/etc/passwd\} \$x\$ \#1 a\&b \textasciitilde{}"
        r"\textasciicircum{} \{\% & p \& q & a b \\"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a page on two models."""
    root = tmp_path_factory.mktemp("files")
    run_list = [make_run(root, heatmaps=False), make_run(root, "tiny_attention", heatmaps=False)]
    for run, right in zip(run_list, (FIRST, SECOND), strict=True):
        answered(run, right)
    return write(run_list, root / "out").parent


def test_every_table_of_the_page_is_there_as_latex(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    numbered = re.findall(r"<b>Table \d+\.</b>", text)
    made = list((folder / "tables").glob("*.tex"))
    assert len(made) == len(numbered) > 5
    for path in made:
        assert path.with_suffix(".csv").is_file()
        # Each line of a table has as many cells as columns are declared.
        lines = path.read_text(encoding="utf-8").splitlines()
        columns = len(re.search(r"\{(l?r*)\}$", lines[5])[1])
        body = [line for line in lines if line.endswith(r"\\") and "multicolumn" not in line]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {columns}
    listed = load_json(folder / "report.json")["files"]
    assert {f"tables/{path.name}" for path in made} <= set(listed)


def test_curves_are_there_as_pdf_and_svg(folder: Path) -> None:
    figures = folder / "figures"
    drawn = {path.stem for path in figures.glob("*.pdf")}
    assert {"robust-accuracy", "training-demo-tiny_gap-0", "confusion-demo"} <= drawn
    assert drawn == {path.stem for path in figures.glob("*.svg")}
    for path in figures.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert (figures / f"{path.stem}.png").is_file()
    assert (figures / "robust-accuracy.pdf").read_bytes().startswith(b"%PDF")
    listed = load_json(folder / "report.json")["files"]
    assert "figures/robust-accuracy.svg" in listed


def test_the_same_figure_gives_the_same_bytes() -> None:
    def drawn(kind: str) -> bytes:
        figure = pictures.Figure()
        figure.subplots().plot([0, 1], [1, 0])
        pictures.render(figure)
        return pictures.vector(figure, kind)

    for kind in ("pdf", "svg"):
        assert drawn(kind) == drawn(kind)
