"""Tables of the page for a paper: LaTeX with the rules of booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from attnrobust.disk.runs import safe_name
from attnrobust.report.blocks import Table

# Of LaTeX's own characters, and of those of ours that its usual fonts lack.
WRITTEN = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\u00a0": "~",
    "\n": " ",
    "ε": r"$\varepsilon$",
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "—": "---",
    "’": "'",
    "“": "``",
    "”": "''",
}


def written(text: str) -> str:
    """Text of a cell or a caption, whatever is in it, as LaTeX; markup of ours falls out."""
    plain = text.striptags() if isinstance(text, Markup) else text
    return "".join(WRITTEN.get(letter, letter) for letter in plain)


def booktabs(table: Table) -> str:
    r"""A table as a float, to be read in by `\input`; it needs `\usepackage{booktabs}`."""
    columns = "l" + "r" * (len(table.columns) - 1)
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{written(table.caption)}}}",
        rf"\label{{tab:{safe_name(table.name)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_groups(table),
        _line(table.columns),
        r"\midrule",
        *map(_line, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(written, cells)) + r" \\"


def _groups(table: Table) -> list[str]:
    """The upper row of heads, with a rule below each that has a name."""
    if not table.groups:
        return []
    cells, rules, start = [], [], 1
    for text, span in table.groups:
        cells.append(rf"\multicolumn{{{span}}}{{c}}{{{written(text)}}}")
        if text:
            rules.append(rf"\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    return [" & ".join(cells) + r" \\", *([" ".join(rules)] if rules else [])]
