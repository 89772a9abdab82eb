"""Readings of a paper: the experiments, the table, and the mark wherever such a number stands."""

from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path

import pandas as pd
import pytest
from page_helpers import tables
from test_report import make_run

import experiments
from attnrobust.disk import conditions
from attnrobust.disk.runs import Run, load_json, save_json, save_text
from attnrobust.report import paper_tables, papers, reading, readings
from attnrobust.report.blocks import Asked
from attnrobust.report.page import write

TWELVE = [name for name in experiments.known() if name.endswith("_as_published")]
MARK = "through-softmax"
# Values that stand nowhere else on the page, at both epsilons.
VALUES = {
    "pixels-through-softmax": ("0.71717", "0.61616"),
    "first": ("0.51515", "0.41414"),
    "first-through-softmax": ("0.81818", "0.91919"),
}


def test_there_are_twelve_and_each_differs_from_its_twin_in_the_reading_alone():
    assert len(TWELVE) == 12
    for name in TWELVE:
        made = experiments.load(name)
        twin = experiments.load(name.removesuffix("_as_published"))
        attack = dataclasses.replace(
            twin.attack,
            outputs="probabilities",
            scale="model_input",
            mode="independent",
            early_stop=False,
        )
        own = f"{twin.name}_as_published"
        assert made == dataclasses.replace(twin, name=own, attack=attack)


def add(run: Run, label: str, values: tuple[str, str], *, first_layer: bool) -> None:
    """A further attack in another reading, measured at the run's epsilons in pixels."""
    stamp = load_json(run.path("attack", "linf_pgd", "stage.json"))
    attack = stamp["used"]["attack"]
    scale = 255.0 if first_layer else 1.0
    attack |= {
        "epsilons": [scale * epsilon for epsilon in attack["epsilons"]],
        "scale": "model_input" if first_layer else "pixels",
        "outputs": "probabilities" if label.endswith(MARK) else "logits",
    }
    save_json(run.path("attack", label, "stage.json"), {**stamp, "epsilon_scale": scale})
    place = run.path("evaluate", "measurements.csv")
    table = pd.read_csv(place, dtype=str, keep_default_na=False)
    mine = table[(table["name"] == "linf_pgd") & (table["level"] != "0.0")].copy()
    mine["name"] = label
    for level, value in zip(run.experiment.attack.epsilons, values, strict=True):
        mine.loc[mine["level"] == str(level), ["value", "low", "high"]] = value
    save_text(place, pd.concat([table, mine]).to_csv(index=False))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> tuple[Run, Path]:
    """A run on X-rays in all four readings, and its page."""
    root = tmp_path_factory.mktemp("readings")
    run = make_run(root, dataset="chestxray14", heatmaps=False, epsilons=(0.00125, 0.32))
    for label, values in VALUES.items():
        add(run, label, values, first_layer=label.startswith("first"))
    return run, write([run], root / "out")


def places(text: str, value: str) -> list[str]:
    """What surrounds a value: its table with caption, its figure, its paragraph or list item."""
    whole = re.compile(r"<(table|figure|p|li|summary|tr)\b(?:(?!<\1\b).)*?</\1>", re.S)
    found = [match[0] for match in whole.finditer(text) if value in match[0]]
    assert len(found) >= 1, value
    assert sum(each.count(value) for each in found) == text.count(value), "each is surrounded"
    return [html.unescape(re.sub(r"<wbr>", "", each)) for each in found]


@pytest.mark.parametrize("label", [label for label in VALUES if label.endswith(MARK)])
def test_what_is_left_through_the_softmax_is_marked_wherever_it_stands(page, label):
    text = page[1].read_text(encoding="utf-8")
    for value in VALUES[label]:
        for place in places(text, value[:5]):
            assert MARK in place or "through the softmax" in place, place[:300]


def test_the_first_screen_and_the_attack_s_words_say_that_it_is_no_robustness(page):
    text = html.unescape(page[1].read_text(encoding="utf-8"))
    assert (
        "Warning: what first-through-softmax leaves of tiny_gap is not the model’s robust" in text
    )
    words = text[text.index('<section id="reading">') :]
    assert words.count("through the softmax: what it leaves is not the model’s robustness") == 2
    assert words.count("its ε given in the numbers of the model’s first layer") == 2


def test_a_single_such_attack_is_named_beside_its_run(tmp_path):
    run = make_run(tmp_path, heatmaps=False)
    add(run, "only-through-softmax", ("0.5", "0.4"), first_layer=False)
    place = run.path("evaluate", "measurements.csv")
    table = pd.read_csv(place, dtype=str, keep_default_na=False)
    save_text(place, table[table["name"] != "linf_pgd"].to_csv(index=False))
    (result,) = reading.read([run])
    assert result.label == "tiny_gap, only-through-softmax"


def test_the_table_sets_each_reading_at_the_epsilon_that_was_given(page):
    (table,) = tables(readings.section(reading.read([page[0]]), Asked()))
    assert [text for text, _ in table.groups[1:]] == list(readings.READINGS.values())
    assert [row[0] for row in table.rows] == ["0", "0.00125", "0.3187", "0.32", "81.6"]
    by_epsilon = {row[0]: row for row in table.rows}
    assert by_epsilon["0.32"][1] == "0.805, both"
    # Columns: logits in pixels, logits in first-layer numbers, and both through the softmax.
    assert [cell[:5] for cell in by_epsilon["0.3187"][2:]] == ["–", "0.515", "–", "0.818"]
    assert [cell[:5] for cell in by_epsilon["0.32"][2:]] == ["0.250", "–", "0.616", "–"]
    assert set(table.frame["outputs"]) == {"logits", "probabilities"}
    assert table.frame.loc[table.frame["attack"] == "first", "epsilon"].tolist() == pytest.approx(
        [0.00125, 0.32]
    )


def test_no_worst_case_counts_what_was_attacked_through_the_softmax(page):
    shared = conditions.shared(page[0])
    assert {norm for norm, _ in shared} == {"linf"}
    assert {tuple(labels) for _, labels in shared.values()} == {("first", "linf_pgd")}


def test_without_another_reading_there_is_no_such_section(tmp_path):
    assert readings.section(reading.read([make_run(tmp_path, heatmaps=False)]), Asked()) is None


def test_other_papers_rows_never_take_such_an_attack_for_theirs(page):
    results = {each.attack: each for each in reading.read([page[0]])}
    soft = results["pixels-through-softmax"]
    paper = papers.read()["martinez"]
    assert not papers.as_theirs(paper, soft)
    assert "through-softmax" in paper_tables._said(paper, soft.attack, [soft])
    assert not papers.as_theirs(papers.read()["wu"], soft)
