"""Claims as data: files, verdicts, and what the page says of them."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_helpers import answered
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from test_report import make_run
from test_report_pairs import EPSILONS, FIRST, SECOND, N, changed, hits, pair

from attnrobust.disk.runs import load_json, save_json, save_text
from attnrobust.errors import UserError
from attnrobust.measures.paired import Paired
from attnrobust.report import claims, commands, judging, reading, verdicts
from attnrobust.report.blocks import Asked
from attnrobust.report.claims import Claim, Side
from attnrobust.report.judging import FAILS, HOLDS, OPEN
from attnrobust.report.page import write

pytestmark = pytest.mark.usefixtures("cheap_pages")
MODELS = """\
short = "Nobody"
[models.attentive]
where = { "model.head" = "soft_attention" }
[models.plain]
where = { "model.head" = "gap" }
[models.robust]
where = { "training.method" = "adversarial" }
"""


def claimed(folder: Path, *claims_: str) -> Path:
    """A file of claims, each as the lines of its table."""
    path = folder / "mine.toml"
    save_text(path, MODELS + "".join(f"[[claims]]\nwords = 'So.'\n{each}\n" for each in claims_))
    return path


def asked(folder: Path, run_list: list, *claims_: str) -> list[judging.Verdict]:
    return judging.judged(reading.read(run_list), [claims.load(claimed(folder, *claims_))])


@pytest.mark.parametrize("path", sorted(claims.folder().glob("*.toml")), ids=lambda path: path.stem)
def test_every_file_that_ships_can_be_read(path: Path) -> None:
    found = claims.load(path)
    assert found.claims
    assert found in claims.read()
    used = {side.model for claim in found.claims for side in (claim.first, claim.second)}
    assert used == set(found.models), "none for nothing"


@pytest.mark.parametrize(
    ("low", "high", "verdict", "within"),
    [
        (0.1, 0.3, HOLDS, FAILS),
        (0.05, 0.3, HOLDS, OPEN),
        (0.01, 0.3, OPEN, OPEN),
        (-0.2, 0.04, FAILS, OPEN),
        (-0.05, 0.05, OPEN, HOLDS),
        (-0.3, -0.06, FAILS, FAILS),
    ],
)
def test_a_claim_holds_where_the_whole_interval_does(
    low: float, high: float, verdict: str, within: str
) -> None:
    side = Side("any")
    found = Paired((low + high) / 2, low, high, "bootstrap", 0, 0, 0.5, "mcnemar", 40)
    assert judging.verdict_of(Claim("", side, side, by=0.05), found)[0] == verdict
    alike = Claim("", side, side, relation="within", by=0.05)
    below = Claim("", side, side, relation="<=", by=0.05)
    turned = found._replace(value=-found.value, low=-high, high=-low)
    assert judging.verdict_of(below, turned) == (verdict, -0.05)
    assert judging.verdict_of(alike, found) == (within, 0.05 if low + high >= 0 else -0.05)


def test_verdicts_are_of_the_images(tmp_path: Path) -> None:
    """Under an attack 20 of 40 are right without attention and 26 with it, 8 of them new."""
    at = f"epsilon = {EPSILONS[0]}"
    found = asked(
        tmp_path,
        pair(tmp_path),
        f"first = {{model='attentive', {at}}}\nsecond = {{model='plain', {at}}}",
        f"first = {{model='plain', {at}}}\nsecond = {{model='attentive', {at}}}\nby = 0.2",
        # The same images of one model, with and without the attack: 30 and 20.
        f"first = {{model='plain'}}\nsecond = {{model='plain', {at}}}\nby = 0.1",
        "first = {model='plain'}\nsecond = {model='attentive'}\nrelation = 'within'\nby = 0.3",
        "first = {model='robust'}\nsecond = {model='plain'}",
        "first = {model='plain'}\nsecond = {model='attentive'}\ndataset = 'eyepacs'",
        "first = {model='plain', epsilon=0.5}\nsecond = {model='attentive'}",
    )
    assert [each.verdict for each in found] == [OPEN, FAILS, HOLDS, HOLDS]
    assert [each.names for each in found[:3]] == [
        ("tiny_attention", "tiny_gap"),
        ("tiny_gap", "tiny_attention"),
        ("tiny_gap", "tiny_gap"),
    ]
    assert [each.found.value for each in found] == pytest.approx([0.15, -0.15, 0.25, 0.05])
    assert found[0].place == ("demo", "resnet50", "linf_pgd")
    assert found[3].place == ("demo", "resnet50")
    # (1.96 + 0.84)² (10/40 - 0.15²) / 0.15², of discordant images alone.
    assert found[0].needed == pytest.approx(79.3, rel=0.12)
    assert [each.needed for each in found[1:]] == [None] * 3


def test_ratios_are_told_by_a_multiple(tmp_path: Path) -> None:
    """Without an attack 30 of 40 are right, under it 20."""
    at = f"epsilon = {EPSILONS[0]}"
    said = f"first = {{model='plain'}}\nsecond = {{model='plain', {at}}}\ntimes = "
    found = asked(tmp_path, pair(tmp_path), f"{said}0.8", f"{said}1.5", f"{said}4")
    assert [each.verdict for each in found] == [HOLDS, OPEN, FAILS]
    assert [each.found.value for each in found] == pytest.approx([0.35, 0, -1.25])
    assert "(first less 4 times the second −1.250 (" in verdicts.sentence(found[2])


def test_metrics_of_the_whole_set_are_claimed(tmp_path: Path) -> None:
    """By scikit-learn; logits are 0 and 1."""
    at = f"epsilon = {EPSILONS[0]}"
    found = asked(
        tmp_path,
        pair(tmp_path),
        "metric = 'macro_auc'\nfirst = {model='attentive'}\nsecond = {model='plain'}",
        "metric = 'brier'\nfirst = {model='attentive'}\nsecond = {model='plain'}\n"
        "relation = '<='\nby = 1.5",
        f"metric = 'balanced_accuracy'\nfirst = {{model='plain'}}\n"
        f"second = {{model='plain', {at}}}\nby = 0.01",
    )
    labels = np.arange(N) % 2
    said = {
        "plain": np.where(FIRST[0.0], labels, 1 - labels),
        "attentive": np.where(SECOND[0.0], labels, 1 - labels),
        "attacked": np.where(FIRST[EPSILONS[0]] & FIRST[0.0], labels, 1 - labels),
    }
    area = {name: roc_auc_score(labels, each) for name, each in said.items()}
    recall = {name: balanced_accuracy_score(labels, each) for name, each in said.items()}
    expected = area["attentive"] - area["plain"], recall["plain"] - recall["attacked"]
    assert (found[0].found.value, found[2].found.value) == pytest.approx(expected)
    for each in found:
        assert each.found.low < each.found.value < each.found.high
        assert each.found.test == "t"
    assert [each.verdict for each in found] == [OPEN, FAILS, HOLDS]
    assert found[0].needed is not None
    assert found[0].needed > N
    assert "difference in Macro AUC" in verdicts.sentence(found[0])


def test_an_epsilon_is_meant_as_the_attack_was_given_it(tmp_path: Path) -> None:
    run_list = pair(tmp_path)
    for run in run_list:
        stamp = run.path("attack", "linf_pgd", "stage.json")
        made = load_json(stamp)
        made["used"]["attack"]["epsilons"] = [255 * each for each in EPSILONS]
        save_json(stamp, {**made, "epsilon_scale": 255})
    at = f"epsilon = {255 * EPSILONS[0]}"
    said = f"first = {{model='attentive', {at}}}\nsecond = {{model='plain', {at}}}"
    assert asked(tmp_path, run_list, said)[0].found.value == pytest.approx(0.15)
    assert asked(tmp_path, run_list, said.replace(at, f"epsilon = {EPSILONS[0]}")) == []


def test_runs_that_differ_in_more_are_not_set_side_by_side(tmp_path: Path) -> None:
    run_list = pair(tmp_path)
    run_list[1] = changed(run_list[1], "training.epochs=3")
    said = "first = {model='attentive'}\nsecond = {model='plain'}"
    assert asked(tmp_path, run_list, said) == []
    assert len(asked(tmp_path, run_list, f"{said}\nsame = ['data']")) == 1


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    run_list = pair(tmp_path)
    answered(run_list[1], {epsilon: each[:20] for epsilon, each in SECOND.items()})
    said = "first = {model='attentive'}\nsecond = {model='plain'}"
    found = asked(tmp_path, run_list, said)[0]
    assert (found.verdict, found.needed) == (OPEN, None)
    assert "only 20 test images are in both" in verdicts.sentence(found)


def test_several_seeds_of_a_model_are_taken_together(tmp_path: Path) -> None:
    run_list = pair(tmp_path)
    for seed in (1, 2):
        run_list.append(make_run(tmp_path, "tiny_attention", seed=seed, heatmaps=False))
        answered(run_list[-1], {0.0: hits(range(31)), **dict.fromkeys(EPSILONS, np.zeros(N, bool))})
    said = "first = {model='attentive'}\nsecond = {model='plain'}"
    found = asked(tmp_path, run_list, said)
    assert len(found) == 1
    assert found[0].found.value == pytest.approx((28 + 31 + 31) / 3 / N - 30 / N)
    assert found[0].found.interval == "seeds_and_groups"


def test_the_page_lists_them_first_and_writes_them_for_other_pages(tmp_path: Path) -> None:
    at = f"epsilon = {EPSILONS[0]}"
    mine = claimed(
        tmp_path,
        f"source = 'page 3'\nfirst = {{model='attentive', {at}}}\nsecond = {{model='plain', {at}}}",
    )
    run_list = pair(tmp_path)
    page = write(run_list, tmp_path / "out", claims=mine)
    text = html.unescape(page.read_text(encoding="utf-8"))
    said = (
        "Claim (Nobody, page 3): So. tiny_attention and tiny_gap: cannot be told with "
        "n\u00a0=\u00a040 (difference +0.150 ("
    )
    assert said in text.partition("<section")[0], "on the first screen"
    frame = pd.read_csv(page.parent / "tables" / "claims.csv")
    mine_of_it = frame[frame["by"] == "Nobody"].iloc[0]
    assert (mine_of_it["verdict"], mine_of_it["n"]) == (OPEN, N)
    assert (mine_of_it["only_first"], mine_of_it["only_second"]) == (8, 2)
    lines = (page.parent / "tables" / "claims.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("| Claim | Verdict |")
    assert sum("Nobody, page 3" in line for line in lines) == 1
    assert {line.count("|") for line in lines} == {9}
    repeated = commands.repeating(reading.read(run_list), tmp_path / "out", claims=mine)[-1]
    assert f"--claims {mine}" in repeated
    assert repeated in text
    listed = load_json(page.parent / "report.json")["files"]
    assert "tables/claims.md" in listed, "a later page takes its place"


def test_no_claim_no_section(tmp_path: Path) -> None:
    run = make_run(tmp_path, heatmaps=False)
    answered(run, FIRST)
    assert verdicts.section(reading.read([run]), Asked()) is None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("first = {model='attentve'}\nsecond = {model='plain'}", "did you mean attentive"),
        ("first = {model='plain'}", "missing required field `second`"),
        ("first = {model='plain'}\nsecond = {model='plain'}\nbuy = 1", "unknown field `buy`"),
        ("first = {model='plain'}\nsecond = {model='plain', epsilon=-1}", ">= 0"),
        (
            "first = {model='plain', corruption='fogg'}\nsecond = {model='plain'}",
            "no corruption 'fogg'",
        ),
        (
            "first = {model='plain', corruption='speckle', epsilon=1}\nsecond = {model='plain'}",
            "expected one of them",
        ),
        ("first = {model='plain'}\nsecond = {model='plain'}\nsame = ['date']", "mean data"),
        ("first = {model='plain'}\nsecond = {model='plain'}\nmetric = 'ece'", "is biased"),
        (
            "first = {model='plain', epsilon=1}\nsecond = {model='plain'}\nmetric = 'rmsce'",
            "'rmsce' is not measured under attack: expected one of accuracy, balanced_accuracy",
        ),
        (
            "first = {model='plain'}\nsecond = {model='plain'}\nwhere = {'model.hat' = 'gap'}",
            "model.hat",
        ),
    ],
)
def test_a_file_that_is_wrong_is_named(lines: str, said: str, tmp_path: Path) -> None:
    path = claimed(tmp_path, lines)
    with pytest.raises(UserError) as caught:
        claims.load(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
