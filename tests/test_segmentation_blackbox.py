"""A paper's transfer tables of models that segment."""

from __future__ import annotations

import types

import numpy as np
import pixel_helpers
import pytest
import segmentation_helpers as drawn
import tensorflow as tf
from matplotlib import colormaps

from attnrobust import config, task
from attnrobust.attacks import blackbox as crafting
from attnrobust.attacks import similarity
from attnrobust.disk import schemas
from attnrobust.report import papers
from attnrobust.studies import blackbox, blackbox_figures
from attnrobust.studies import blackbox_tables as tables

PAPER = papers.read()["paschali"].segmentation
WEIGHTS, BIAS = np.array([[0, 10, -10], [0, 0, 0], [0, 0, 0]]), np.array([0, -6.8, 3.1])
NAMES = ["soft", "steep"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files of two segmenters with the same borders, DAG's steps being long."""
    folder = tmp_path_factory.mktemp("blackbox")
    dataset = drawn.write_drawn(folder / "records", 30)
    models = {
        name: pixel_helpers.linear(scale * WEIGHTS, scale * BIAS, drawn.SIZE)
        for name, scale in zip(NAMES, (1, 3), strict=True)
    }
    data = config.Data("drawn", image_size=drawn.SIZE)
    judges = crafting.Judges(models, dict.fromkeys(NAMES, data), dataset, 4)
    crafting.clean(judges, folder / "clean.npz")
    clean = schemas.load_npz(folder / "clean.npz", schemas.judged(NAMES, "segment"))
    base = config.Experiment("linear", data)
    for head, words in PAPER.attacks.items():
        attack = crafting.as_found(
            config.with_settings(base, [*words, "attack.abs_stepsize=0.05"]).attack
        )
        for name in NAMES:
            crafting.craft(
                name,
                head,
                attack,
                judges,
                tables.file_of(folder, name, head),
                seed=0,
                samples=blackbox._samples(clean, name, "segment"),
                noise=similarity.NOISES[PAPER.noise],
            )
    return folder, models


def test_both_tables_have_the_papers_shape(made):
    folder, _ = made
    measured = tables.measure(folder, NAMES, list(PAPER.attacks), "segment")
    assert set(measured["metric"]) == {"dice"}
    heads = {"soft": "SN", "steep": "DN"}
    one = tables.table_1(measured, heads, PAPER)
    two = tables.table_2(measured, heads, list(PAPER.attacks), PAPER)
    assert list(one["model"]) == list(two["model"]) == ["SN", "SN", "DN", "DN"]
    assert two.set_index(["model", "whose"]).loc[("DN", "paper"), "Type C SN"] == 0.819
    ours = one.set_index(["model", "whose"])["clean"]["SN", "ours"]
    assert ours > 0.95
    value = measured.set_index(["images", "attack", "source", "target"])["value"]
    for name in NAMES:
        # Toward background everywhere no structure is left, on either, since borders are the same.
        assert value["adversarial", "Type A", "soft", name] < 0.2
        assert value["adversarial", "Type A", "soft", name] < value["noise", "average", "", name]
        assert value["adversarial", "Type C", "soft", name] > 0.3
    each = [
        value["adversarial", head, source, "soft"] for head in PAPER.attacks for source in NAMES
    ]
    assert value["adversarial", "average", "", "soft"] == pytest.approx(np.mean(each))


def test_noisy_twins_are_rician_and_as_visible(made):
    folder, models = made
    found = schemas.load_npz(
        tables.file_of(folder, "soft", "Type A"), schemas.crafted(NAMES, "segment")
    )
    np.testing.assert_allclose(found["noisy_ssim"], found["ssim"], atol=1e-3)
    alike = similarity.ssim(found["sample_clean"], found["sample_noisy"])
    rows = [list(found["id"]).index(id_) for id_ in found["sample_id"]]
    np.testing.assert_allclose(alike, found["noisy_ssim"][rows], atol=1e-4)
    # One draw for all channels, since they are copies of one grey value.
    apart = found["sample_noisy"] - found["sample_clean"]
    np.testing.assert_allclose(apart[..., 0], apart[..., 2], atol=0.05)
    maps = task.predict(models["soft"].forward(tf.constant(found["sample_noisy"])).numpy())
    np.testing.assert_array_equal(maps, found["noisy-soft"][rows])


@pytest.mark.parametrize(("channels", "alike"), [(1, True), (3, False)])
def test_noise_of_photographs_is_not_rician(channels, alike):
    judges = crafting.Judges({}, {}, types.SimpleNamespace(kind="segment"), 2)
    images = np.random.default_rng(0).uniform(0.3, 0.7, (2, 16, 16, channels)).astype(np.float32)
    images = np.repeat(images, 3 // channels, axis=-1)
    found = crafting._seen(
        judges,
        "none",
        images,
        np.clip(images + 0.05, 0, 1),
        ids=["a", "b"],
        key=0,
        noise=similarity.RICIAN,
    )
    apart = found["sample_noisy"] - images
    # Rician noise is one draw for all channels.
    red, blue = apart[..., 0].ravel(), apart[..., 2].ravel()
    assert (np.corrcoef(red, blue)[0, 1] > 0.9) == alike


def test_figure_of_maps(made, tmp_path, monkeypatch):
    folder, _ = made
    clean = schemas.load_npz(folder / "clean.npz", schemas.judged(NAMES, "segment"))
    found = {
        head: schemas.load_npz(
            tables.file_of(folder, "soft", head), schemas.crafted(NAMES, "segment")
        )
        for head in PAPER.attacks
    }
    drawn = []
    monkeypatch.setattr(blackbox_figures, "png", lambda figure: drawn.append(figure) or b"")
    monkeypatch.setattr(blackbox_figures, "render", lambda figure: figure)
    blackbox_figures.maps(clean, found, "soft", ["a", "b", "c"], tmp_path / "maps.png")
    (legend,) = drawn[0].legends
    assert [each.get_text() for each in legend.get_texts()] == ["a", "b", "c"]
    shades = [each.get_facecolor() for each in legend.get_patches()]
    np.testing.assert_allclose(shades, colormaps["nipy_spectral"]([0.0, 0.5, 1.0]))


def test_the_papers_own_table_says_its_average():
    for model in PAPER.models:
        mean = np.mean([number for each in model.accuracy.values() for number in each])
        assert mean == pytest.approx(model.average, abs=6e-4)
        assert model.clean - model.average == pytest.approx(model.drop, abs=2e-3)
