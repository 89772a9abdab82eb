"""Pairs of models on the page: who is set against whom, the numbers, and what is not compared."""

from __future__ import annotations

import dataclasses
import html
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_helpers import answered, tables, words
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from test_report import make_run

from attnrobust import config
from attnrobust.disk.runs import Run, load_json, save_json, save_text
from attnrobust.report import answers, differences, pairs, reading
from attnrobust.report.blocks import Asked, Details, Note
from attnrobust.report.page import write

pytestmark = pytest.mark.usefixtures("cheap_pages")
EPSILONS = (0.00125, 8 / 255)
N = 40


def hits(*places: range) -> np.ndarray:
    """Whether each of 40 images is right."""
    return np.isin(np.arange(N), [i for each in places for i in each])


# Image by image, without an attack and at the two epsilons.
FIRST = {0.0: hits(range(30)), EPSILONS[0]: hits(range(20)), EPSILONS[1]: hits(range(3))}
SECOND = {
    0.0: hits(range(28)),
    # Image 35 is right under the attack alone: it does not count.
    EPSILONS[0]: hits(range(2, 28), range(35, 36)),
    EPSILONS[1]: hits(),
}


def changed(run: Run, *settings: str) -> Run:
    """The run with other settings."""
    experiment = config.with_settings(run.experiment, settings)
    save_text(run.path("config.json"), config.to_json(experiment))
    return Run.open(run.root)


def pair(root: Path, **options: object) -> list[Run]:
    """One without attention and one with it."""
    first = changed(make_run(root, heatmaps=False), "model.head=gap")
    second = make_run(root, "tiny_attention", heatmaps=False)
    answered(first, FIRST)
    answered(second, SECOND, **options)
    return [first, second]


def test_the_numbers_are_those_of_the_images(tmp_path: Path) -> None:
    found = pairs.read(reading.read(pair(tmp_path)))
    assert [each.why for each in found] == ["without and with attention"]
    rows = found[0].rows
    assert [tuple(row.condition) for row in rows] == [
        ("clean", "", ""),
        ("attack", "linf_pgd", "0.00125"),
        ("attack", "linf_pgd", "0.0313725"),
    ]
    assert [row.shares[0] for row in rows] == pytest.approx([0.75, 0.5, 0.075])
    assert [row.shares[1] for row in rows] == pytest.approx([0.7, 0.65, 0])
    assert [row.found[4:6] for row in rows] == [(2, 0), (2, 8), (3, 0)]
    expected = [mcnemar([[0, b], [c, 0]], exact=True).pvalue for b, c in ((2, 0), (2, 8), (3, 0))]
    assert [row.found.p for row in rows] == pytest.approx(expected)
    # Of both epsilons together; without an attack is a question of its own.
    holm = [expected[0], *multipletests(expected[1:], method="holm")[1]]
    assert [row.corrected for row in rows] == pytest.approx(holm)


def test_the_page_and_its_files_say_it(tmp_path: Path) -> None:
    page = write(pair(tmp_path), tmp_path / "out")
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert "interval overlap" not in text
    assert "intervals overlap" not in text
    assert "Is one better than the other?" in text
    said = "linf_pgd, ε\u00a0=\u00a00.00125: tiny_attention has +0.150 ("
    assert said in text
    assert "n = 40; p after Holm’s correction 0.219): that does not tell them apart" in text
    assert "p: McNemar’s exact test." in text
    frame = pd.read_csv(page.parent / "tables" / "pairs-demo-tiny_gap-tiny_attention.csv")
    assert list(frame["difference"]) == pytest.approx([-0.05, 0.15, -0.075])
    assert set(frame["interval"]) == {"bootstrap"}
    assert ((frame["low"] < frame["difference"]) & (frame["difference"] < frame["high"])).all()


def test_groups_of_either_run_are_resampled_whole(tmp_path: Path) -> None:
    run_list = pair(tmp_path, groups=np.array([f"p{i // 4}" for i in range(N)]))
    made = tables(differences.section(reading.read(run_list), Asked()))[0]
    assert set(made.frame["interval"]) == {"group_bootstrap"}
    assert set(made.frame["test"]) == {"group_sign_flips"}
    assert "bootstrap of whole groups" in made.note


def test_several_seeds_are_resampled_and_the_page_says_so(tmp_path: Path) -> None:
    run_list = pair(tmp_path)
    for seed in (1, 2):
        run_list.append(make_run(tmp_path, "tiny_attention", seed=seed, heatmaps=False))
        answered(run_list[-1], SECOND if seed == 1 else FIRST)
    section = differences.section(reading.read(run_list), Asked())
    made = tables(section)[0]
    assert set(made.frame["interval"]) == {"seeds_and_groups"}
    assert set(made.frame["seeds_second"]) == {3}
    assert made.frame["difference"][1] == pytest.approx((0.15 + 0.15 + 0) / 3)
    assert "tiny_attention, 3 seeds" in made.caption
    assert "widened by what the seeds of each model vary" in made.note
    assert made.rows[1][5] == "5.3", "mean over the seeds of 8, 8 and 0"


def test_images_that_are_not_the_same_are_not_compared(tmp_path: Path) -> None:
    run_list = pair(tmp_path)
    short = {epsilon: each[:25] for epsilon, each in SECOND.items()}
    answered(run_list[1], short)
    section = differences.section(reading.read(run_list), Asked())
    problem = "only 25 test images are in both, of 40 and 25"
    assert f"Not compared: {problem}." in words(section)
    assert not tables(section)
    assert section.summary == (
        f"tiny_gap and tiny_attention are not compared image by image: {problem}.",
    )
    run_list[1].path("predict", "clean.npz").unlink()
    section = differences.section(reading.read(run_list), Asked())
    assert "predictions of single images are not there" in section.summary[0]
    assert differences.section(reading.read(run_list[:1]), Asked()) is None, "one alone"


def test_other_labels_and_orders_are_told(tmp_path: Path) -> None:
    first, second = (each[0] for each in answers.read(reading.read(pair(tmp_path))).values())
    turned = dataclasses.replace(second, ids=second.ids[::-1])
    assert "another order" in answers.apart([first, turned])
    other = dataclasses.replace(second, labels=1 - second.labels)
    assert "other labels" in answers.apart([first, other])
    away = dataclasses.replace(second, ids=np.array([f"x{i}" for i in range(N)]))
    assert "no test image in common" in answers.apart([first, away])
    assert answers.apart([first, second]) == ""


def test_who_is_set_against_whom(tmp_path: Path) -> None:
    plain, attentive = pair(tmp_path)
    robust = changed(
        make_run(tmp_path, "tiny_robust", heatmaps=False),
        "model.head=gap",
        "training.method=adversarial",
    )
    odd = changed(make_run(tmp_path, "odd", heatmaps=False), "data.image_size=32")
    results = reading.read([plain, attentive, robust, odd])

    def names(baseline: str | None = None) -> list[tuple[str, str, str]]:
        return [
            (first[0].group[1], second[0].group[1], why)
            for first, second, why in pairs.partners(results, baseline)
        ]

    expected = [
        ("tiny_gap", "tiny_attention", "without and with attention"),
        ("tiny_gap", "tiny_robust", "standard and robust"),
        ("tiny_gap", "odd", "baseline and variant"),
    ]
    assert names() == expected
    assert names("odd") == [
        *expected[:2],
        ("odd", "tiny_gap", "baseline and variant"),
        ("odd", "tiny_attention", "baseline and variant"),
        ("odd", "tiny_robust", "baseline and variant"),
    ]


def test_corruptions_and_the_worst_of_several_attacks_are_conditions(tmp_path: Path) -> None:
    run_list = pair(tmp_path)
    for run, right in zip(run_list, (FIRST, SECOND), strict=True):
        measured = run.path("evaluate", "measurements.csv")
        lines = measured.read_text().splitlines()
        corrupted = [
            lines[1].replace(",clean,,,", f",corruption,noise,{level},") for level in (1, 3)
        ]
        other = [line.replace(",linf_pgd,", ",other,") for line in lines if ",attack," in line]
        save_text(measured, "\n".join([*lines, *corrupted, *other]) + "\n")
        made = load_json(run.path("attack", "linf_pgd", "stage.json"))
        save_json(run.path("attack", "other", "stage.json"), made)
        answered(run, right, corrupted={"noise-1": right[0.0], "noise-3": right[EPSILONS[0]]})
    rows = pairs.read(reading.read(run_list))[0].rows
    kinds = [(row.condition.kind, row.condition.name, row.condition.level) for row in rows]
    assert ("worst_case", "linf", "0.00125") in kinds
    assert kinds[-2:] == [("corruption", "noise", "1"), ("corruption", "noise", "3")]
    expected = [mcnemar([[0, b], [c, 0]], exact=True).pvalue for b, c in ((2, 0), (2, 9))]
    holm = multipletests(expected, method="holm")[1]
    assert [row.corrected for row in rows[-2:]] == pytest.approx(holm)
    section = differences.section(reading.read(run_list), Asked())
    details = [each for each in section.blocks if isinstance(each, Details)]
    assert [len(each.blocks[0].rows) for each in details] == [2]


def test_attacks_of_another_strength_are_told(tmp_path: Path) -> None:
    run_list = pair(tmp_path)
    stamp = run_list[1].path("attack", "linf_pgd", "stage.json")
    made = load_json(stamp)
    made["used"]["attack"]["steps"] = 7
    save_json(stamp, made)
    section = differences.section(reading.read(run_list), Asked())
    notes = [each.text for each in section.blocks if isinstance(each, Note)]
    assert notes == [
        "The attack had other settings on the one than on the other: linf_pgd (steps). What it "
        "left does not compare."
    ]
