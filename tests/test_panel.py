"""PANEL: figures and tables from runs on disk; what cannot be drawn ends in one line."""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from attnrobust import config
from attnrobust.cli import main
from attnrobust.disk.runs import Run, digest, load_json, load_npz, save_json, save_npz, save_text
from attnrobust.errors import UserError
from attnrobust.explanations import samples
from attnrobust.measures import maps
from attnrobust.studies import panel, panel_columns, panel_figure, panel_tables
from attnrobust.studies.panel_columns import Asked

SIDE, IDS = 8, ("a", "b", "c", "d")
RAMP = np.arange(SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
POINT = np.where(RAMP == 9, 1, 0).astype(np.float32)


def make(
    root: Path,
    name: str = "standard",
    *,
    seed: int = 0,
    task: str = "",
    heat: np.ndarray | dict[str, np.ndarray] = RAMP,
    ids: tuple[str, ...] = IDS,
    signed: bool = False,
    attack: bool = True,
) -> Path:
    """An explained run; the model is wrong on the second image without an attack."""
    data = config.Data("demo", task=task)
    setting = config.Attack(epsilons=(0.01,))
    run = Run.of(config.Experiment(name=name, data=data, attack=setting, seed=seed), root)
    save_text(run.path("config.json"), config.to_json(run.experiment))
    save_json(
        run.path("provenance.json"), {"dataset": {"classes": ["benign", "malignant"], "splits": {}}}
    )
    count, place = len(ids), "linf_pgd" if attack else "clean"
    for epsilon in (0.0, 0.01) if attack else (0.0,):
        where = ("attack", place, f"linf_pgd-{epsilon:g}.npz")
        save_npz(
            run.path(*(where if attack else ("explain", "clean", "samples.npz"))),
            id=np.array(ids),
            label=np.zeros(count, int),
            logits=np.eye(2)[[int(row == 1 or epsilon > 0) for row in range(count)]],
            linf=np.full(count, epsilon),
            sample_id=np.array(ids),
            sample_image=np.full((count, SIDE, SIDE, 3), 0.5 + epsilon, np.float32),
            sample_mask=np.broadcast_to(RAMP < 16, (count, SIDE, SIDE)),
        )
        condition = f"linf_pgd-{epsilon:g}" if epsilon else "clean"
        shown = np.stack([heat[id_] if isinstance(heat, dict) else heat for id_ in ids]).astype(
            np.float16
        )
        for method in ("grad_cam", "gradient"):
            more = {"signed": shown - shown.mean()} if signed else {}
            file = run.path("explain", place, f"{method}-{condition}.npz")
            save_npz(file, id=np.array(ids), heatmap=shown, **more)
    used = {"attack": {"name": "linf_pgd", "epsilons": [0.01]}}
    explained = {"explanation": {"methods": ["grad_cam", "gradient"]}}
    inputs = ""
    for stage, what in ((f"attack/{place}", used), (f"explain/{place}", explained)):
        if attack or stage.startswith("explain"):
            stamp = run.path(stage, "stage.json")
            save_json(stamp, {"used": what, "inputs": inputs, "finished": True})
            inputs = digest("", stamp)
    return run.root


def draw(out: Path, *roots: Path, **asked: object) -> None:
    panel_columns.panel([Run.open(root) for root in roots], out, Asked(**asked))


@pytest.fixture
def captured(monkeypatch):
    """What is drawn, in place of the slow figure."""
    found: dict = {}

    def note(columns, ids, classes, **how):
        found.update(columns=[each.title for each in columns], ids=ids, classes=classes, **how)
        found["shown"] = [each.shown for each in columns]

    monkeypatch.setattr(panel_figure, "draw", note)
    monkeypatch.setattr(panel_figure, "write", lambda *_: [])
    return found


def test_the_command_writes_png_pdf_and_tables(tmp_path, capsys):
    roots = [make(tmp_path / "runs"), make(tmp_path / "runs", "robust", heat=POINT)]
    out = tmp_path / "made" / "panel.v1.png"
    assert main(["panel", *map(str, roots), "--out", str(out), "--images", "2"]) == 0
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ["panel.v1-differences.csv", "panel.v1.pdf", "panel.v1.png"]
    pixels = cv2.imread(str(out))
    assert pixels.std() > 10
    assert (out.parent / "panel.v1.pdf").read_bytes().startswith(b"%PDF")
    table = pd.read_csv(out.parent / "panel.v1-differences.csv").set_index("metric")
    assert set(table["experiment"]) == {"robust"}
    assert set(table["minus"]) == {"standard"}
    expected = maps.gini(POINT) - maps.gini(RAMP)
    assert table.loc["gini", "difference"] == pytest.approx(expected, abs=1e-3)
    assert table.loc["pointing", "difference"] == 1, "pixel 9 is in the mask, 63 is not"
    assert table.loc["heat_inside", "difference"] == pytest.approx(1 - 120 / 2016, abs=1e-3)
    assert set(table["n"]) == {4}


def test_the_command_line_says_what_is_asked_for(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(panel_columns, "panel", lambda runs, out, asked: found.append(asked))
    words = "--columns methods --style wu --method gradient --as mine --epsilon 0.01 --images 2"
    parser = argparse.ArgumentParser()
    panel.options(parser)
    given = [str(make(tmp_path)), "--out", "x", *words.split(), "--ids", "b", "a"]
    panel.work(parser.parse_args([*given, "--correct-only", "--shared-scale"]))
    assert found == [
        Asked("methods", "wu", "gradient", "mine", 0.01, 2, ("b", "a"), True, True),
    ]


def test_a_map_of_another_size_is_not_compared(tmp_path, caplog):
    columns = [
        column(np.ones((side, side)), tmp_path=tmp_path / str(side), name=str(side))
        for side in (8, 4)
    ]
    assert list(panel_tables.differences(columns)) == []
    assert "8 and 4 have no seed in common or images of another size" in caplog.text


def test_seeds_of_one_experiment_agree_by_rank_and_by_top(tmp_path, captured):
    roots = [make(tmp_path, seed=0), make(tmp_path, seed=1, heat=RAMP.max() - RAMP)]
    draw(tmp_path / "x.png", *roots, columns="seeds")
    assert captured["columns"] == ["seed 0", "seed 1"]
    table = pd.read_csv(tmp_path / "x-agreement.csv").set_index("metric")
    assert table.loc["spearman", "value"] == pytest.approx(-1)
    assert table.loc["top_overlap", "value"] == 0
    assert (table["n"] == 4).all()
    assert not (tmp_path / "x-differences.csv").exists()


def test_images_are_paired_by_id_whatever_their_order(tmp_path, captured):
    heat = {id_: np.random.default_rng(row).random((8, 8)) for row, id_ in enumerate(IDS)}
    first = make(tmp_path, heat=heat)
    others = [
        make(tmp_path, name, seed=seed, heat=heat, ids=IDS[::-1])
        for name, seed in (("standard", 1), ("robust", 0))
    ]
    draw(tmp_path / "x.png", first, *others)
    table = pd.read_csv(tmp_path / "x-differences.csv").set_index("metric")
    assert not table[["difference", "low", "high"]].to_numpy().any()
    assert set(pd.read_csv(tmp_path / "x-agreement.csv")["value"].round(9)) == {1}


def test_differences_are_a_row_a_seed_and_one_of_all(tmp_path, captured):
    roots = [
        make(tmp_path, name, seed=seed, heat=heat)
        for name, heats in (("standard", (RAMP, RAMP)), ("robust", (POINT, RAMP)))
        for seed, heat in enumerate(heats)
    ]
    draw(tmp_path / "x.png", *roots)
    table = pd.read_csv(tmp_path / "x-differences.csv").set_index(["metric", "seed"])
    assert table.loc[("pointing", "0"), "difference"] == 1
    assert table.loc[("pointing", "1"), "difference"] == 0
    assert table.loc[("pointing", "mean"), "difference"] == 0.5
    assert captured["columns"][:2] == ["standard, seed 0", "standard, seed 1"]


def test_the_mean_over_seeds_knows_that_seeds_differ(tmp_path, captured):
    """Images are all alike: a bootstrap of them alone would have no width at all."""
    roots = [
        make(tmp_path, name, seed=seed, heat=(RAMP / RAMP.max()) ** power)
        for name, powers in (("standard", (0, 0.5, 1)), ("robust", (1, 2, 3)))
        for seed, power in enumerate(powers)
    ]
    draw(tmp_path / "x.png", *roots)
    table = pd.read_csv(tmp_path / "x-differences.csv").set_index(["metric", "seed"])
    each = table.loc["gini"].loc[["0", "1", "2"], "difference"]
    mean = table.loc[("gini", "mean")]
    assert mean["difference"] == pytest.approx(each.mean())
    assert each.nunique() == 3
    assert mean["low"] < each.min() < each.max() < mean["high"]
    assert mean["n"] == 4


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"columns": "methods"}, "heat"),
        ({"columns": "methods", "epsilon": 0.01}, "heat at ε = 0.01"),
        ({"epsilon": 0.01}, "grad_cam at ε = 0.01"),
        ({"columns": "conditions"}, "grad_cam"),
    ],
)
def test_the_bar_says_what_the_heads_do_not(asked, said, tmp_path, captured):
    draw(tmp_path / "x.png", make(tmp_path), **asked)
    assert captured["what"] == said


def test_maps_that_are_older_than_their_images_are_told(tmp_path, captured, caplog):
    root = make(tmp_path)
    draw(tmp_path / "x.png", root)
    assert "older" not in caplog.text
    stamp = root / "attack" / "linf_pgd" / "stage.json"
    save_json(stamp, {**load_json(stamp), "seconds": 1})
    draw(tmp_path / "x.png", root)
    assert caplog.text.count("the heatmaps of 'linf_pgd' are older than their images") == 1


def test_maps_that_were_made_otherwise_are_told(tmp_path, captured, caplog):
    roots = [make(tmp_path), make(tmp_path, "robust")]
    draw(tmp_path / "x.png", *roots)
    assert "explanation." not in caplog.text
    stamp = roots[1] / "explain" / "linf_pgd" / "stage.json"
    other = {"methods": ["grad_cam"], "precision": "bfloat16"}
    save_json(stamp, {**load_json(stamp), "used": {"explanation": other}})
    draw(tmp_path / "x.png", *roots)
    assert caplog.messages[-2] == (
        f"warning: {roots[1]}: its heatmaps were made with explanation.precision = bfloat16, "
        f"those of {roots[0]} with float32"
    )


def test_columns_of_one_run(tmp_path, captured):
    root = make(tmp_path)
    draw(tmp_path / "x.png", root, columns="methods")
    assert captured["columns"] == ["grad_cam", "gradient"]
    draw(tmp_path / "x.png", root, columns="conditions")
    assert captured["columns"] == ["clean", "ε = 0.01"]
    assert captured["shown"][1].predictions.all(), "all are wrong under the attack"
    draw(tmp_path / "x.png", root, epsilon=0.01, images=3)
    assert (captured["ids"], captured["classes"]) == (["a", "b", "c"], ["benign", "malignant"])
    assert captured["shown"][0].images.max() == pytest.approx(0.51)


def test_maps_are_as_the_method_gave_them_where_the_file_tells(tmp_path):
    root = make(tmp_path, signed=True)
    place = root / "explain" / "linf_pgd" / "gradient-clean.npz"
    found = load_npz(place)
    save_npz(place, **{**found, "scale": np.array([0.5, 1, 2, 4], np.float32)})
    kept = samples.load(Run.open(root), "linf_pgd", "gradient")
    assert [each.max() for each in kept.heatmaps] == [126, 63, 31.5, 15.75]
    np.testing.assert_array_equal(kept.signed[0], 2 * found["signed"][0].astype(np.float32))


def test_images_are_those_asked_for_or_named_rightly(tmp_path, captured):
    root = make(tmp_path)
    draw(tmp_path / "x.png", root, correct_only=True)
    assert captured["ids"] == ["a", "c", "d"]
    draw(tmp_path / "x.png", root, ids=("d", "b"), images=1)
    assert captured["ids"] == ["d", "b"]
    with pytest.raises(UserError, match="--correct-only: there is no image"):
        draw(tmp_path / "x.png", root, ids=("b",), correct_only=True)


def test_a_run_without_an_attack_is_drawn_too(tmp_path, captured):
    root = make(tmp_path, attack=False)
    assert samples.explained(Run.open(root)) == {"clean": ("grad_cam", "gradient")}
    draw(tmp_path / "x.png", root)
    assert captured["ids"] == list(IDS)
    with pytest.raises(UserError, match="--columns conditions needs an attack"):
        draw(tmp_path / "x.png", root, columns="conditions")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"columns": "methods"}, "--columns methods: expected one run, 2 given"),
        ({"columns": "methods", "shared_scale": True}, "--shared-scale: maps of several methods"),
        ({"columns": "seeds"}, "--columns seeds: expected runs of one experiment"),
        ({"method": "integrated"}, r"standard/seed-0: no heatmaps of 'integrated'; those of grad"),
        ({"label": "apgd"}, r"standard/seed-0: no explained samples of 'apgd'; run 'explain'"),
        ({"columns": "conditions", "epsilon": 0.01}, "--epsilon: --columns conditions shows every"),
        ({"epsilon": 0.5}, r"standard/seed-0: not attacked at ε 0\.5; known: 0\.01"),
        ({"ids": ("zz",)}, r"standard/seed-0: zz is not among its samples"),
        ({"style": "overlays"}, "did you mean 'overlay'|no style 'overlays'"),
        ({"style": "wu"}, r"standard/seed-0: standard: maps without a sign"),
        ({}, r"other/seed-0: d is not among its samples, as it is among those of .*standard"),
    ],
)
def test_what_cannot_be_drawn_ends_in_one_line(asked, message, tmp_path):
    roots = [make(tmp_path)]
    if not asked or ("columns" in asked and "epsilon" not in asked):
        roots.append(make(tmp_path, "other", ids=IDS[:3]))
    with pytest.raises(UserError, match=message) as caught:
        draw(tmp_path / "x.png", *roots, **asked)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("x*"))


def test_runs_that_would_be_mistaken_for_each_other_are_not_drawn(tmp_path):
    roots = [make(tmp_path / place) for place in ("a", "b")]
    with pytest.raises(UserError, match=r"b/.*of the experiment and seed of .*a/.*each once"):
        draw(tmp_path / "x.png", *roots)
    roots[1] = make(tmp_path / "b", "grades", task="grades")
    with pytest.raises(UserError, match="grades/seed-0: of another data set or task than"):
        draw(tmp_path / "x.png", *roots)


def test_a_run_without_samples_and_another_image_of_the_same_id(tmp_path):
    root, other = make(tmp_path), make(tmp_path, "other")
    place = other / "attack" / "linf_pgd" / "linf_pgd-0.npz"
    found = load_npz(place)
    save_npz(place, **{**found, "sample_image": found["sample_image"] / 2})
    with pytest.raises(UserError, match=r"other/seed-0: a is another image than in .*standard"):
        draw(tmp_path / "x.png", root, other)
    (root / "explain" / "linf_pgd" / "stage.json").unlink()
    with pytest.raises(UserError, match="standard/seed-0: no explained samples; run 'explain'"):
        draw(tmp_path / "x.png", root)


def test_a_mask_of_another_size_and_a_map_of_no_numbers_are_never_drawn(tmp_path):
    root = make(tmp_path)
    place = root / "attack" / "linf_pgd" / "linf_pgd-0.npz"
    found = load_npz(place)
    save_npz(place, **{**found, "sample_mask": np.ones((4, 3, 3), bool)})
    with pytest.raises(UserError, match=r"linf_pgd-0\.npz: damaged \(sample_mask: shape"):
        draw(tmp_path / "x.png", root)
    save_npz(place, **found)
    place = root / "explain" / "linf_pgd" / "grad_cam-clean.npz"
    found = load_npz(place)
    hole = found["heatmap"].copy()
    hole[0, 0, 0] = np.nan
    save_npz(place, **{**found, "heatmap": hole})
    with pytest.raises(UserError, match=r"grad_cam-clean\.npz: damaged \(heatmap: not finite"):
        draw(tmp_path / "x.png", root)


def column(
    heat: np.ndarray, *, signed: bool = False, tmp_path: Path, name: str = "standard"
) -> panel_figure.Column:
    run = Run.open(make(tmp_path, name, signed=signed))
    shown = samples.load(run, "linf_pgd", "grad_cam")
    heats = np.stack([heat] * 4)
    changed = dataclasses.replace(shown, heatmaps=heats, signed=heats if signed else None)
    return panel_figure.Column("one", run, changed, shown)


def painted(figure) -> np.ndarray:
    """The picture of the first map."""
    return np.asarray(figure.axes[1].images[0].get_array())


def test_margeloiu_caps_at_the_99th_percentile(tmp_path):
    heat = np.ones((SIDE, SIDE)) * 0.5
    heat[0, 0], heat[0, 1] = 1000, 0
    one = column(heat, tmp_path=tmp_path)
    found = painted(panel_figure.draw([one], ["a"], [], style="margeloiu", shared=False))
    cap = np.percentile(heat, 99)
    expected = panel_figure.SINGLE(np.clip(heat / cap, 0, 1))[..., :3]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found[0, 0], panel_figure.SINGLE(1.0)[:3])
    spread = found.max(axis=-1) - found.min(axis=-1)
    assert spread.max() < 1e-6, "one colour"


def test_heads_of_several_lines_lie_inside_the_figure_and_the_bar_says_what_is_shown(tmp_path):
    one = column(np.ones((SIDE, SIDE)), tmp_path=tmp_path)
    one = dataclasses.replace(one, title="a_rather_long_name_of_an_experiment_by_its_side")
    figure = panel_figure.draw(
        [one], ["a"], [], style="overlay", shared=False, what="grad_cam at ε = 0.01"
    )
    head = figure.axes[1].title
    assert head.get_text().count("\n") >= 2
    box = head.get_window_extent()
    assert box.y1 <= figure.bbox.height
    assert figure.axes[-1].get_ylabel().startswith("grad_cam at ε = 0.01,\n1 = largest value of")


def test_a_map_of_another_class_than_is_seen_says_so(tmp_path):
    one = column(np.ones((SIDE, SIDE)), tmp_path=tmp_path)
    for targets, said in (
        (None, ["benign", "malignant (wrong)"]),
        ([0, 1, 0, 0], ["benign", "malignant (wrong)"]),
        ([1, 0, 0, 0], ["benign\nmap of malignant", "malignant (wrong)\nmap of benign"]),
    ):
        explained = None if targets is None else np.array(targets)
        shown = dataclasses.replace(one.shown, targets=explained)
        figure = panel_figure.draw(
            [dataclasses.replace(one, shown=shown)],
            ["a", "b"],
            ["benign", "malignant"],
            style="overlay",
            shared=False,
        )
        assert [figure.axes[place].get_xlabel() for place in (1, 3)] == said


def test_the_bars_words_lie_inside_a_figure_of_one_row(tmp_path):
    one = column(np.ones((SIDE, SIDE)), tmp_path=tmp_path)
    what = "integrated_gradients at ε = 0.01569"
    figure = panel_figure.draw([one], ["a"], [], style="margeloiu", shared=True, what=what)
    box = figure.axes[-1].yaxis.label.get_window_extent()
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.height
    assert box.x1 <= figure.bbox.width
    assert what in figure.axes[-1].get_ylabel()


def test_wu_is_green_where_positive_and_red_where_negative(tmp_path):
    heat = np.zeros((SIDE, SIDE))
    heat[:2], heat[-2:] = 3, -3
    one = column(heat, signed=True, tmp_path=tmp_path)
    found = painted(panel_figure.draw([one], ["a"], [], style="wu", shared=False))
    up, middle, down = found[0, 0], found[4, 0], found[-1, 0]
    assert up[1] > up[0] + 0.3
    assert down[0] > down[1] + 0.3
    assert np.ptp(middle) < 1e-6
    assert middle[0] > 0.6, "the faded image"


def test_a_shared_scale_keeps_a_weaker_map_weaker(tmp_path):
    pair = [column(each * POINT, tmp_path=tmp_path / str(each)) for each in (4.0, 1.0)]
    alone = panel_figure.draw(pair, ["a"], [], style="overlay", shared=False)
    shared = panel_figure.draw(pair, ["a"], [], style="overlay", shared=True)
    peaks = [
        [np.asarray(ax.images[0].get_array())[1, 1] for ax in each.axes[1:3]]
        for each in (alone, shared)
    ]
    np.testing.assert_allclose(peaks[0][0], peaks[0][1])
    np.testing.assert_allclose(peaks[1][0], peaks[0][0])
    assert peaks[1][1].sum() < peaks[1][0].sum() - 0.3


def test_a_map_of_zeros_says_so_and_one_of_no_numbers_is_refused(tmp_path):
    empty = column(np.zeros((SIDE, SIDE)), tmp_path=tmp_path)
    figure = panel_figure.draw([empty], ["a"], ["benign"], style="overlay", shared=False)
    assert figure.axes[1].get_xlabel() == "benign, map of zeros"
    hole = column(np.full((SIDE, SIDE), math.nan), tmp_path=tmp_path)
    with pytest.raises(UserError, match="standard/seed-0: one: the map of a is not finite"):
        panel_figure.draw([hole], ["a"], [], style="overlay", shared=False)


@pytest.mark.parametrize("name", ["margeloiu", "overlay"])
def test_colours_survive_grey_printing(name):
    steps = panel_figure.STYLES[name].colours(np.linspace(0, 1, 64))[:, :3]
    grey = steps @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) > 0).all() or (np.diff(grey) < 0).all()


def test_the_same_figure_is_the_same_file(tmp_path):
    root = make(tmp_path / "runs")
    for name in ("one", "two"):
        draw(tmp_path / name, root, images=1)
    for ending in ("png", "pdf"):
        one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("one", "two"))
        assert one == two


@pytest.mark.parametrize(
    ("title", "folded"),
    [
        ("resnet18_small_adversarial_by_side", "resnet18_small_\nadversarial_by_\nside"),
        ("integrated_gradients", "integrated_\ngradients"),
        ("ε 0.01, under attack", "ε 0.01, under\nattack"),
        ("gradient", "gradient"),
    ],
)
def test_long_titles_stay_over_their_own_column(title: str, folded: str) -> None:
    assert panel_figure._folded(title) == folded
