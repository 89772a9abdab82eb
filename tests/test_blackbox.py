"""A paper's transfer tables: attacks as they are found, noisy twins, models of two image sizes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from attack_helpers import linear, noise, predicted
from tensorflow import keras
from test_transfer import train

from attnrobust import cli, config
from attnrobust.attacks import blackbox as crafting
from attnrobust.attacks import similarity
from attnrobust.attacks.methods import ATTACKS
from attnrobust.data import records
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import Run, find_runs
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas
from attnrobust.report import papers
from attnrobust.studies import blackbox_figures as figures
from attnrobust.studies import blackbox_tables as tables
from attnrobust.studies.blackbox import blackbox
from experiments.demo import resnet18_gap, resnet18_soft_attention

PAPER = papers.read()["paschali"].transfer
ATTACK_NAMES = list(PAPER.attacks)
SETTINGS = ["attack.epsilons=0.02", "attack.gamma=0.05", "data.limit=20"]
NAMES = ["resnet18_gap-smoke", "resnet18_soft_attention-smoke"]


@pytest.fixture(scope="module")
def made(one_device, records_folder, tmp_path_factory):
    """Two trained models, of 32 and 24 px, and the folder that one command leaves."""
    folder = tmp_path_factory.mktemp("blackbox")
    train(resnet18_gap, records_folder, folder / "runs")
    more = ("--set", "data.image_size=24")
    train(resnet18_soft_attention, records_folder, folder / "runs", *more)
    words = ["transfer", str(folder / "runs"), "--records", str(records_folder.parent)]
    words += ["--paper", "paschali", "--out", str(folder / "out")]
    assert cli.main([*words, *(word for each in SETTINGS for word in ("--set", each))]) == 0
    return folder / "out"


@pytest.mark.slow
def test_one_command_makes_both_tables_and_the_figures(made):
    one, two = (pd.read_csv(made / f"table-{n}.csv") for n in (1, 2))
    assert list(one["model"]) == list(two["model"]) == NAMES, "no network of the paper's is ours"
    assert list(two.columns[2:]) == [f"{a} {name}" for a in ATTACK_NAMES for name in NAMES]
    measured = pd.read_csv(made / "measured.csv", keep_default_na=False)
    assert set(measured["n"]) == {20}
    value = measured.set_index(["images", "attack", "source", "target"])["value"]
    for name in NAMES:
        clean = value["clean", "", "", name]
        assert clean > 0.2
        for attack in ATTACK_NAMES:
            assert value["adversarial", attack, name, name] <= clean
        assert value["adversarial", "DF", name, name] == 0, "found for all that were right"
        row = one.set_index("model").loc[name]
        cells = two.set_index("model").loc[name].drop("whose").to_numpy(float)
        assert row["average"] == pytest.approx(cells.mean())
        assert row["drop"] == pytest.approx(100 * (clean - cells.mean()))
        foreign = [c for c in two.columns[2:] if not c.endswith(f" {name}")]
        assert row["others"] == pytest.approx(two.set_index("model").loc[name, foreign].mean())
        for kind in ("examples", "embedding"):
            assert (made / f"{kind}-{name}.png").stat().st_size > 5000
    text = (made / "tables.md").read_text()
    assert "as in Paschali et al." in text
    assert "| DF | as found |" in text
    assert "| FGSM | in full |" in text


@pytest.mark.slow
def test_each_adversarial_has_a_noisy_twin_of_the_same_ssim(made):
    for name in NAMES:
        for attack in ATTACK_NAMES:
            found = schemas.load_npz(tables.file_of(made, name, attack), schemas.crafted(NAMES))
            np.testing.assert_allclose(found["noisy_ssim"], found["ssim"], atol=2e-4)
            assert 1 <= len(found["sample_id"]) <= 3
            assert name != NAMES[0] or (found["ssim"] < 0.9999).any()
    fgsm = schemas.load_npz(tables.file_of(made, NAMES[0], "FGSM"), schemas.crafted(NAMES))
    np.testing.assert_allclose(fgsm["linf"], 0.02, atol=1e-6)


@pytest.mark.slow
def test_what_has_been_made_is_kept_and_other_settings_are_refused(made, records_folder):
    chosen = find_runs([made.parent / "runs"])
    file = tables.file_of(made, NAMES[0], "SMA")
    stamp = file.stat().st_mtime_ns
    again = blackbox(chosen, records_folder.parent, made, SETTINGS, "paschali")
    assert len(again) == 2 + 2 * (3 * 2 * 2) + 2 * 2 * 2
    assert file.stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="results of other runs or settings"):
        blackbox(chosen, records_folder.parent, made, ["attack.epsilons=0.03"], "paschali")


def test_what_cannot_be_done_is_told_before_anything_is_made(tiny, records_folder, tmp_path):
    one, two, other = (
        Run.of(config.with_settings(tiny, words), tmp_path / "runs")
        for words in (["name=a"], ["name=b", "data.image_size=24"], ["name=c", "data.limit=50"])
    )
    given = (records_folder.parent, tmp_path / "out")
    with pytest.raises(UserError, match="no paper with transfer tables 'wu'; known: paschali"):
        blackbox([one, two], *given, [], "wu")
    with pytest.raises(UserError, match=r"attack\.epsilons = 0\.01, 0\.02: expected one for fgsm"):
        blackbox([one, two], *given, ["attack.epsilons=0.01,0.02"], "paschali")
    with pytest.raises(UserError, match="1 run given"):
        blackbox([one], *given, [], "paschali")
    with pytest.raises(UserError, match=r"data\.limit"):
        blackbox([one, other], *given, [], "paschali")
    small = Run.of(config.with_settings(tiny, ["name=d", "data.image_size=8"]), tmp_path / "runs")
    with pytest.raises(UserError, match="SSIM needs at least 11"):
        blackbox([one, small], *given, ["attack.epsilons=0.02"], "paschali")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ATTACKS)
def test_every_row_is_read_as_what_it_is(name):
    setting = config.Attack(name, epsilons=(0.1,))
    assert crafting.reading(setting) == ("in full" if ATTACKS[name].in_full else "as found")
    made = crafting.as_found(setting)
    assert made.early_stop != ATTACKS[name].in_full
    with pytest.raises(UserError, match=r"attack\.target = nv: transfer judges"):
        crafting.as_found(config.Attack(name, epsilons=(0.1,), target="nv"))


def _judges(records_folder):
    """Two linear models of the images' 4 x 4 means, one at 32 px and one at 16."""
    weights = np.random.default_rng(5).normal(size=(48, 7)).astype(np.float32)
    models, data = {}, {}
    for side in (32, 16):
        image = keras.Input((side, side, 3))
        flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(side // 4)(image))
        model = keras.Model(image, keras.layers.Dense(7, name="logits")(flat))
        model.set_weights([weights, -0.5 * weights.sum(axis=0)])
        models[str(side)] = Replicas(model)
        data[str(side)] = config.Data("ham10000", image_size=side, limit=8)
    return crafting.Judges(models, data, records.load(records_folder), 8)


def test_a_model_of_another_size_is_shown_the_images_at_its_own(records_folder):
    """A ramp of colours, of which both sizes have the same 4 x 4 means."""
    judges = _judges(records_folder)
    ramps = {}
    for side in (32, 16):
        x = (np.arange(side) + 0.5) / side
        channels = [x[None] + 0 * x[:, None], x[:, None] + 0 * x[None], 0 * x + 0 * x[:, None]]
        ramps[str(side)] = np.stack(channels, axis=-1)[None].astype(np.float32)
        means = ramps[str(side)].reshape(4, side // 4, 4, side // 4, 3).mean(axis=(1, 3))
        embedded = judges.embedded(str(side), ramps[str(side)])
        np.testing.assert_allclose(embedded, means.reshape(1, 48), atol=1e-6)
    own = judges.logits("16", ramps["16"])
    np.testing.assert_allclose(judges.logits("16", ramps["32"]), own, atol=0.05)
    assert np.abs(judges.logits("16", ramps["32"][:, ::-1]) - own).max() > 0.5


def test_adversarials_are_judged_by_all_beside_noise_that_is_as_visible(records_folder, tmp_path):
    judges = _judges(records_folder)
    crafting.clean(judges, tmp_path / "clean.npz")
    clean = schemas.load_npz(tmp_path / "clean.npz", schemas.judged(["32", "16"]))
    setting = crafting.as_found(config.Attack("fgsm", epsilons=(0.03,)))
    samples = clean["id"][[1, 4]]
    place = tables.file_of(tmp_path, "32", "FGSM")
    crafting.craft("32", "FGSM", setting, judges, place, seed=0, samples=samples)
    found = schemas.load_npz(place, schemas.crafted(["32", "16"]))
    assert list(found["id"]) == list(clean["id"])
    assert list(found["sample_id"]) == list(samples)
    images, made, noisy = (found[f"sample_{kind}"] for kind in ("clean", "image", "noisy"))
    assert np.abs(made - images).max() == pytest.approx(0.03, abs=1e-6)
    np.testing.assert_allclose(similarity.ssim(images, made), found["ssim"][[1, 4]], atol=1e-5)
    np.testing.assert_allclose(similarity.ssim(images, noisy), found["ssim"][[1, 4]], atol=2e-4)
    for key, shown in (("logits-32", made), ("noisy-32", noisy), ("logits-16", made)):
        seen = judges.logits(key.rpartition("-")[2], shown)
        np.testing.assert_allclose(found[key][[1, 4]], seen, atol=1e-4)
    np.testing.assert_allclose(found["embedding"][[1, 4]], judges.embedded("32", made), atol=1e-5)
    label = clean["label"]
    own = found["logits-32"][np.arange(8), label] - clean["logits-32"][np.arange(8), label]
    noise_own = found["noisy-32"][np.arange(8), label] - clean["logits-32"][np.arange(8), label]
    assert own.mean() < noise_own.mean() - 0.1, "an attack of the same SSIM does more"


def _save(path, label, *, seen, noisy=None, **more):
    """A file as crafting leaves it, classes seen given by model."""
    size = len(label)
    arrays = {f"logits-{name}": np.eye(3)[each] for name, each in seen.items()}
    if noisy:
        arrays |= {f"noisy-{name}": np.eye(3)[each] for name, each in noisy.items()}
        arrays |= {key: np.array([0, 0.5, 0.5, 0.5]) for key in ("linf", "l2")}
        arrays |= {key: np.zeros((size, 2)) for key in ("embedding", "noisy_embedding")}
        arrays |= {f"sample_{key}": np.zeros((1, 4, 4, 3)) for key in ("clean", "image", "noisy")}
        arrays["sample_id"] = np.array(["0"])
    runs.save_npz(path, id=np.arange(size).astype(str), label=np.array(label), **arrays, **more)


@pytest.fixture
def by_hand(tmp_path):
    """Four images of two models a and b, one attack."""
    label = [0, 0, 1, 2]
    _save(tmp_path / "clean.npz", label, seen={"a": [0, 0, 1, 2], "b": [0, 0, 1, 0]})
    ssim = np.array([1, 0.98, 0.97, 0.99])
    _save(
        tables.file_of(tmp_path, "a", "X"),
        label,
        seen={"a": [1, 1, 0, 2], "b": [0, 1, 1, 2]},
        noisy={"a": [0, 0, 1, 2], "b": [0, 0, 0, 0]},
        ssim=ssim,
        noisy_ssim=ssim - np.array([0, 0, 5e-5, 0]),
    )
    _save(
        tables.file_of(tmp_path, "b", "X"),
        label,
        seen={"a": [0, 0, 1, 0], "b": [1, 1, 2, 0]},
        noisy={"a": [0, 0, 1, 0], "b": [0, 0, 1, 0]},
        ssim=ssim,
        noisy_ssim=ssim,
    )
    return tmp_path


def test_tables_hold_what_stands_in_the_files(by_hand):
    measured = tables.measure(by_hand, ["a", "b"], ["X"])
    heads = {"a": "A", "b": "B"}
    two = tables.table_2(measured, heads, ["X"], None).set_index("model")
    assert two.loc["A", "X A"] == 1 / 4
    assert two.loc["A", "X B"] == 3 / 4
    assert two.loc["B", "X A"] == 3 / 4, "what was wrong before may be right now"
    assert two.loc["B", "X B"] == 0
    one = tables.table_1(measured, heads, None).set_index("model")
    columns = ["clean", "noise", "average", "drop", "others"]
    assert list(one.loc["A", columns]) == [1, 7 / 8, 1 / 2, 50, 3 / 4]
    assert list(one.loc["B", columns]) == [3 / 4, 5 / 8, 3 / 8, 37.5, 3 / 4]
    found = tables.likeness(by_hand, ["a", "b"], {"X": "as found"}).set_index("source")
    assert found.loc["a", "ssim"] == pytest.approx(0.98), "of three that were changed"
    assert found.loc["a", "noise_apart"] == pytest.approx(5e-5)
    assert found.loc["a", "changed"] == 3 / 4


def test_other_images_than_the_clean_ones_are_damage(by_hand):
    clean = runs.load_npz(by_hand / "clean.npz")
    runs.save_npz(by_hand / "clean.npz", **{**clean, "id": np.array(list("4567"))})
    with pytest.raises(UserError, match=r"a-X\.npz: damaged \(other images than in clean\.npz"):
        tables.measure(by_hand, ["a", "b"], ["X"])


def test_the_paper_s_numbers_stand_beside_its_networks(by_hand):
    """Its averages and drops follow from its Table 2, but for the drop of MobileNet."""
    measured = tables.measure(by_hand, ["a", "b"], ["X"])
    heads = {"a": "IV3", "b": "MN"}
    one = tables.table_1(measured, heads, PAPER).set_index(["model", "whose"])
    assert one.loc[("IV3", "paper"), "clean"] == 0.71
    assert one.loc[("IV3", "paper"), "others"] == pytest.approx(
        np.mean([0.548, 0.567, 0.707, 0.664, 0.701, 0.669])
    )
    printed = {"IV3": 0.06897, "IV4": 0.1772, "MN": 0.8 - 0.5644}
    for model in PAPER.models:
        mean = np.mean(list(model.accuracy.values()))
        assert model.average == pytest.approx(mean, abs=6e-4)
        assert model.clean - mean == pytest.approx(printed[model.name], abs=5e-4)
    attacks = {"FGSM": "X"}
    renamed = measured.replace({"attack": {"X": "FGSM"}})
    two = tables.table_2(renamed, heads, list(attacks), PAPER).set_index(["model", "whose"])
    assert list(two.loc[("MN", "paper")]) == [0.335, 0.213]
    assert list(two.loc[("IV3", "paper")]) == [0.449, 0.567]
    text = tables.markdown(one.reset_index())
    assert "| IV3 | paper | 0.710 | 0.693 | 0.641 | 6.9 | 0.643 |" in text


def test_embeddings_are_told_apart_by_how_far_they_move(tmp_path):
    """Two classes ten apart; noise moves by 1, the attack by 5."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 10)
    own = np.stack([10.0 * label, np.zeros(20)], axis=1) + rng.normal(0, 1e-3, (20, 2))
    step = np.array([0.0, 1.0])
    clean = {
        "id": np.arange(20).astype(str),
        "label": label,
        "logits-a": np.eye(2)[label],
        "embedding-a": own,
    }
    order = rng.permutation(20)
    found = {
        "id": clean["id"][order],
        "noisy_embedding": (own + step)[order],
        "embedding": (own + 5 * step)[order],
    }
    said = {"attack": "X", "classes": ["one", "two"], "seed": 0, "file": tmp_path / "map.png"}
    moved = figures.embedding(clean, found, "a", **said)
    assert moved == {
        "noise": pytest.approx(0.1, abs=1e-3),
        "adversarial": pytest.approx(0.5, abs=1e-3),
    }
    assert (tmp_path / "map.png").stat().st_size > 5000
    clean["logits-a"] = np.eye(2)[1 - label]
    assert figures.embedding(clean, found, "a", **said) == {}, "nothing is right"


def test_deepfool_stops_at_the_border_of_its_own_model_and_fools_no_other():
    """That is why `in_full` refuses it, and what `as found` means."""
    one, other = linear(3), linear(3, offset=0.5)
    weights, bias = other.layers[-1].get_weights()
    rng = np.random.default_rng(1)
    other.layers[-1].set_weights([weights + 0.3 * rng.standard_normal(weights.shape), bias])
    images = noise(24)
    seen = predicted(one, images)
    setting = crafting.as_found(config.Attack("deepfool_l2", epsilons=(0.1,)))
    attack = ATTACKS["deepfool_l2"].make(Replicas(one), setting, 0)
    given = (tf.constant(images), tf.constant(seen))
    made, _ = attack(*given, list(map(str, range(24))), float("inf"), 0)
    assert (predicted(one, np.asarray(made)) != seen).all()
    same = predicted(other, images) == seen
    assert (predicted(other, np.asarray(made)) == seen)[same].mean() > 0.3
