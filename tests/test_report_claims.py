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

from attnrobust.disk.runs import (
    Run,
    attack_file,
    digest,
    load_json,
    load_npz,
    save_json,
    save_npz,
    save_text,
)
from attnrobust.errors import UserError
from attnrobust.measures.paired import Paired
from attnrobust.report import claimed_heatmaps, claims, commands, judging, reading, verdicts
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


SHOWN, SIDE = 6, 8
SPARSER = "metric = 'gini[gradient]'\nfirst = {model='attentive'}\nsecond = {model='plain'}"


def explained(run: Run, blocks: list[int], *, turn: bool = False, **setting: object) -> Run:
    """Sample images whose heatmaps are so many ones (0: none at all) and else zeros."""
    ids = np.array([f"image-{place}" for place in range(SHOWN)])
    maps = np.stack([np.arange(SIDE * SIDE) < count for count in blocks])
    maps = maps.reshape(SHOWN, SIDE, SIDE).astype(np.float16)
    images = np.random.default_rng(0).random((SHOWN, SIDE, SIDE, 3), dtype=np.float32)
    way = slice(None, None, -1 if turn else 1)
    for epsilon in (0.0, *EPSILONS):
        place = run.attacked("linf_pgd") / attack_file("linf_pgd", epsilon)
        mine = {"sample_id": ids[way], "sample_image": images[way]}
        groups = {"group": np.array([f"g{place // 2}" for place in range(N)])}
        save_npz(place, **{**load_npz(place), **mine, **groups})
        condition = f"linf_pgd-{epsilon:g}" if epsilon else "clean"
        # Under the attack all maps are one pixel.
        found = maps if not epsilon else np.ones_like(maps) * (np.arange(SIDE) == 0) * np.eye(SIDE)
        save_npz(
            run.path("explain", "linf_pgd", f"gradient-{condition}.npz"),
            id=ids,
            heatmap=found.astype(np.float16),
        )
    inputs = digest("", run.attacked("linf_pgd") / "stage.json")
    used = {"explanation": {"methods": ["gradient"], **setting}}
    save_json(
        run.path("explain", "linf_pgd", "stage.json"),
        {"used": used, "inputs": inputs, "finished": True},
    )
    return run


def test_claims_on_heatmaps_are_of_each_image(tmp_path: Path) -> None:
    """A map of k ones among n pixels has a Gini of 1 - k / n; one of zeros has none."""
    plain, attentive = pair(tmp_path)
    explained(plain, [32, 16, 40, 48, 24, 0])
    explained(attentive, [16, 8, 8, 16, 8, 1], turn=True)
    found = asked(
        tmp_path,
        [plain, attentive],
        SPARSER,
        f"{SPARSER}\nrelation = '<='",
        SPARSER.replace("gradient", "grad_cam"),
        SPARSER.replace("gini", "heat_inside"),
        "metric = 'gini[gradient]'\n"
        f"first = {{model='plain', epsilon={EPSILONS[0]}}}\nsecond = {{model='plain'}}",
    )
    assert [each.verdict for each in found] == [HOLDS, FAILS, HOLDS]
    gained = np.array([16, 8, 32, 32, 16]) / 64
    assert found[0].found.value == pytest.approx(gained.mean())
    assert (found[0].found.n, found[0].found.interval) == (5, "group_bootstrap")
    assert found[0].place == ("demo", "resnet50")
    assert found[2].found.value == pytest.approx(np.mean([32, 16, 40, 48, 24]) / 64 - 1 / 64)
    assert found[2].place == ("demo", "resnet50", "linf_pgd")
    assert "(difference in gini[gradient] +0.325 (" in verdicts.sentence(found[0])


def test_numbers_of_heatmaps_stay_with_their_images(tmp_path: Path) -> None:
    plain, attentive = pair(tmp_path)
    explained(plain, [1, 2, 3, 4, 5, 6])
    explained(attentive, [1, 2, 3, 4, 5, 6], turn=True)
    (claim,) = claims.load(claimed(tmp_path, SPARSER)).claims
    results = reading.read([plain, attentive])
    one, other = (claimed_heatmaps.read(claim, claim.first, [each]) for each in results)
    assert list(one[0].clean.ids) != list(other[0].clean.ids)
    before, after, groups = claimed_heatmaps.aligned(one, other)
    np.testing.assert_array_equal(before, after)
    assert before[0, 0] == pytest.approx(1 - np.arange(1, 7) / 64)
    assert groups.tolist() == ["g0", "g0", "g1", "g1", "g2", "g2"]


def test_heatmaps_of_several_seeds_are_taken_together(tmp_path: Path) -> None:
    run_list = pair(tmp_path)
    explained(run_list[0], [32] * SHOWN)
    explained(run_list[1], [16] * SHOWN)
    run_list.append(make_run(tmp_path, "tiny_attention", seed=1, heatmaps=False))
    answered(run_list[-1], SECOND)
    assert asked(tmp_path, run_list, SPARSER) == [], "one of two seeds was not explained"
    explained(run_list[-1], [8] * SHOWN)
    (found,) = asked(tmp_path, run_list, SPARSER)
    # Seeds differ by an eighth, images not at all: Student's t of one degree says nothing.
    assert found.found.value == pytest.approx((16 + 24) / 2 / 64)
    assert (found.verdict, found.found.interval) == (OPEN, "seeds_and_groups")
    # A roughness has no end at 1.
    rough = "metric = 'total_variation[gradient]'\nfirst={model='plain'}\nsecond={model='plain'}"
    (found,) = asked(tmp_path, run_list, rough.replace("plain'}\ns", "attentive'}\ns"))
    assert found.found.high > 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smooth_samples": 3}, "their heatmaps differ in explanation.smooth_samples"),
        ({"target": "label", "layer": "x"}, "explanation.layer, explanation.target"),
        ("images", "images of one name are not the same"),
        ("ids", "of other sample images"),
        ("older", "tiny_attention/seed-0 are older than their images: explain it again"),
        ("zeros", "no image has such a number in all of them"),
    ],
)
def test_heatmaps_that_do_not_compare_are_said(
    change: str | dict[str, object], said: str, tmp_path: Path
) -> None:
    plain, attentive = pair(tmp_path)
    explained(plain, [32] * SHOWN)
    setting = change if isinstance(change, dict) else {}
    explained(attentive, [0 if change == "zeros" else 16] * SHOWN, **setting)
    place = attentive.attacked("linf_pgd") / attack_file("linf_pgd", 0.0)
    stamp = attentive.path("explain", "linf_pgd", "stage.json")
    if change == "images":
        found = load_npz(place)
        save_npz(place, **{**found, "sample_image": found["sample_image"] / 2})
    if change == "ids":
        other = np.array([f"image-{number}" for number in range(1, SHOWN + 1)])
        save_npz(place, **{**load_npz(place), "sample_id": other})
        maps = attentive.path("explain", "linf_pgd", "gradient-clean.npz")
        save_npz(maps, **{**load_npz(maps), "id": other})
    if change == "older":
        save_json(stamp, {**load_json(stamp), "inputs": "before"})
    (found,) = asked(tmp_path, [plain, attentive], SPARSER)
    assert (found.verdict, found.needed) == (OPEN, None)
    assert said in found.problem


def test_methods_of_the_claims_that_ship_exist() -> None:
    from attnrobust.explanations.methods import EXPLANATIONS

    named = [claim.metric for file in claims.read() for claim in file.claims if "[" in claim.metric]
    assert named
    assert {each.partition("[")[2].removesuffix("]") for each in named} <= EXPLANATIONS.keys()


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
            "first = {model='plain'}\nsecond = {model='plain'}\nmetric = 'ginny[gradient]'",
            "did you mean gini",
        ),
        (
            "first = {model='plain'}\nsecond = {model='plain'}\nmetric = 'gini'",
            "'gini': expected a method, as gini[gradient]",
        ),
        (
            "first = {model='plain', corruption='speckle'}\nsecond = {model='plain'}\n"
            "metric = 'gini[gradient]'",
            "no heatmaps of corrupted images",
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
