"""The viewer's data, markup and bytes; what a browser makes of them is in test_browser.py."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_report import make_run
from viewer_helpers import FALLS, IDS, LABELS, SAMPLES, image, logits, two_runs

from attnrobust import config
from attnrobust.disk.runs import load_npz, save_json, save_npz, save_text
from attnrobust.report import page, pictures, reading
from attnrobust.report.blocks import Asked
from attnrobust.report.viewer import data, encoded, live

pytestmark = pytest.mark.usefixtures("cheap_pages")
# What makes markup of text, or asks for anything that is not on the page.
ASKING = ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "fetch(", "import ", "url(")
HOSTILE = "</script><!--<img src=x onerror=alert(1)>&"


def found(root: Path, **values: Any) -> dict[str, Any]:
    made = data.read(reading.read(two_runs(root, **values)))
    assert made is not None
    return made


def pixels(made: dict[str, Any], number: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(made["pictures"][number]))))


def test_what_models_say_is_what_the_files_hold(tmp_path: Path) -> None:
    made = found(tmp_path)
    (known,) = made["sets"]
    assert (known["name"], known["classes"]) == ("demo", ("nevus", "melanoma"))
    assert sorted(known["ids"]) == sorted(IDS)
    assert known["levels"]["0.01"] == ("0.01", "2.55")
    assert [view["run"] for view in known["views"]] == ["first", "second"]
    for view in known["views"]:
        # Row by row: which image of the set stands there, and which row of the file that is.
        rows = [IDS.index(known["ids"][number]) for number in view["images"]]
        assert sorted(rows) == list(range(12))
        assert [known["labels"][number] for number in view["images"]] == LABELS[rows].tolist()
        assert [known["ids"][each] for each in view["samples"]] == [IDS[i] for i in SAMPLES]
        assert view["levels"] == ["0", "0.01", "0.02", "0.04"]
        for level in range(4):
            kept = np.frombuffer(base64.b64decode(view["logits"][level]), "<f4").reshape(12, 2)
            said = logits(view["run"], level)[rows]
            np.testing.assert_array_equal(kept, said)
            assert view["predictions"][level] == said.argmax(-1).tolist()
            fell = [FALLS[view["run"]][row] <= level for row in rows]
            assert view["reached"][level] == "".join("2" if each else "0" for each in fell)


def test_curves_are_the_measurements(tmp_path: Path) -> None:
    first = found(tmp_path)["sets"][0]["views"][0]
    # make_run measures 0.75 / (1 + order), its interval from 0.8 to 1.1 times that.
    expected = [[0.75, 0.6, 0.825, 40], [0.375, 0.3, 0.4125, 40], [0.25, 0.2, 0.275, 40]]
    np.testing.assert_allclose(np.array(first["curve"][:3], float), expected)


def test_pictures_are_the_samples_and_each_is_kept_once(tmp_path: Path) -> None:
    made = found(tmp_path)
    one, other = made["sets"][0]["views"]
    assert one["pictures"] == other["pictures"], "the same images of both models"
    assert one["heatmaps"] == other["heatmaps"]
    # Clean images, attacked ones; no change, a change; four heatmaps.
    assert len(made["pictures"]) == 3 + 3 * 3 + 2 + 4
    for place, number in enumerate(SAMPLES):
        clean, still, *said = one["pictures"][0][place]
        np.testing.assert_array_equal(pixels(made, clean), np.rint(image(number) * 255))
        assert (pixels(made, still) == 128).all()
        assert said == [False, "0", ""]
    seen, shown, *said = one["pictures"][1][0]
    assert said == [False, "2.55", "50"], "0.01 is shown as half of the range"
    np.testing.assert_allclose(pixels(made, seen)[0, [0, 8], 0], (143, 137), atol=1)
    assert pixels(made, shown)[0, [0, 8], 0].tolist() == [255, 0]
    maps = [pixels(made, level[0])[..., 0] for level in one["heatmaps"]["grad_cam"]]
    assert [each[::8, ::8].ravel().tolist() for each in maps] == (
        255 * np.eye(4, dtype=int)
    ).tolist()


def test_what_cannot_be_seen_is_shown_as_the_clean_image(tmp_path: Path) -> None:
    run = make_run(tmp_path, epsilons=(0.002, 0.1))
    view = data.read(reading.read([run]))["sets"][0]["views"][0]
    clean, little, much = (level[0] for level in view["pictures"])
    assert little[0] == clean[0] != much[0]
    assert little[1] != clean[1], "the perturbation is shown all the same"
    assert [each[2] for each in (clean, little, much)] == [False, True, False]


def test_a_perturbation_is_shown_by_the_mean_of_its_channels() -> None:
    change = np.array([[[0.01, 0.01, 0.01], [-0.01, 0, 0.01], [-0.02, 0, 0.005]]], np.float32)
    grey, factor = data.shown_change(change)
    np.testing.assert_allclose(grey, [[1, 0.5, 0.25]], atol=1e-6)
    assert factor == pytest.approx(50)
    assert data.shown_change(0 * change)[1] == 0


def test_maps_of_zeros_and_missing_heatmaps_are_told_apart(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.path("explain", "linf_pgd", "grad_cam-linf_pgd-0.00125.npz").unlink()
    view = data.read(reading.read([run]))["sets"][0]["views"][0]
    clean, missing, _ = view["heatmaps"]["grad_cam"]
    assert missing is None
    assert [each is None for each in clean] == [False, True, False], "make_run's second is zero"


def test_a_targeted_attack_has_reached_only_its_target(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    place = run.path("attack", "linf_pgd", "stage.json")
    aimed = dataclasses.replace(
        run.experiment, attack=dataclasses.replace(run.experiment.attack, target="melanoma")
    )
    stamp = json.loads(place.read_text())
    save_json(place, {**stamp, "used": dataclasses.asdict(aimed)})
    view = data.read(reading.read([run]))["sets"][0]["views"][0]
    # Under attack every label is the other one: 0 is taken for the target, 1 for something wrong.
    labels = [0 if each in (0, 2) else 1 for each in map(int, view["reached"][1])]
    assert [view["predictions"][1][row] for row in range(40)] == [1 - each for each in labels]
    assert set(view["reached"][1]) == {"1", "2"}


def test_runs_with_other_classes_are_another_set(tmp_path: Path) -> None:
    runs = [make_run(tmp_path), make_run(tmp_path, "other", classes=("normal", "ill"))]
    made = data.read(reading.read(runs))
    assert [each["name"] for each in made["sets"]] == ["demo", "demo (2)"]


def test_only_so_many_images_are_kept_and_samples_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "IMAGES", 5)
    first, second = found(tmp_path)["sets"][0]["views"]
    assert len(first["images"]) == len(second["images"]) == 5
    assert first["images"] == second["images"], "the same, or nothing could be compared"
    assert set(first["samples"]) <= set(first["images"])
    assert first["count"] == 12


def test_no_attack_no_viewer(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for path in run.path("attack", "linf_pgd").glob("*.npz"):
        path.unlink()
    assert live.section(reading.read([run]), Asked()) is None


def test_text_of_data_sets_stays_text(tmp_path: Path) -> None:
    ids = (HOSTILE, "\ud800 lone", "__proto__", *IDS[3:])
    runs = two_runs(tmp_path, classes=(HOSTILE, "constructor"), ids=ids)
    text = page.write(runs, tmp_path / "out").read_text(encoding="utf-8")
    assert HOSTILE not in text
    (kept,) = re.findall(r'<script type="application/json" id="viewer-data">(.*?)</script>', text)
    assert not set("<>&") & set(kept)
    (known,) = json.loads(kept)["sets"]
    assert known["classes"] == [HOSTILE, "constructor"]
    assert sorted(known["ids"]) == sorted(ids)


def test_code_is_small_plain_and_asks_for_nothing() -> None:
    folder = Path(live.__file__).parent
    scripts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.js")}
    assert scripts.keys() == {*live.SCRIPTS, "tables.js"}
    assert sum(len(each.encode()) for each in scripts.values()) <= 40_000
    for name, text in {**scripts, "css": live.source("viewer.css")}.items():
        assert "</" not in text, name
        for word in ASKING:
            assert word not in text, (name, word)
        named = set(re.findall(r"https?://[^\s\"]+", text))
        assert named <= {"http://www.w3.org/2000/svg"}, "the name of a language, not a place"


def test_pictures_keep_to_their_bytes_and_lose_nothing_where_they_can() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    for limit in (20_000, 6000, 2000):
        assert len(encoded.webp(noise, limit)) <= limit
    for plain in (np.full((8, 8), 77, np.uint8), np.eye(32, dtype=np.uint8) * 200):
        kept = Image.open(io.BytesIO(encoded.webp(plain, 500)))
        np.testing.assert_array_equal(np.asarray(kept.convert("L")), plain)
    assert pictures.smaller(noise[:1], 0.25).shape == (1, 24, 3)


def test_three_models_at_nine_radii_with_three_methods_are_below_15_mb(tmp_path: Path) -> None:
    """At 224 px and of pure noise; the worst there is. Reckoned from one picture of each kind."""
    experiment = config.Experiment(
        name="large",
        data=config.Data("demo", image_size=224),
        attack=config.Attack(epsilons=tuple(0.004 * 2**n for n in range(8)), samples=16),
        explanation=config.Explanation(methods=("grad_cam", "gradient", "smooth_grad")),
    )
    runs = []
    for seed in range(3):
        run = make_run(tmp_path, f"run{seed}", epsilons=experiment.attack.epsilons)
        run.experiment = dataclasses.replace(experiment, name=f"run{seed}")
        runs.append(run)
    results = [
        dataclasses.replace(each, setting=experiment.attack, explanation=experiment.explanation)
        for each in reading.read(runs)
    ]
    share, count = data.shares(results)
    assert count == 16
    rng = np.random.default_rng(0)
    sizes = {}
    for kind, wanted in (("image", data.IMAGE), ("change", data.CHANGE), ("map", data.HEATMAP)):
        shape = (224, 224, 3) if kind == "image" else (224, 224)
        with ThreadPoolExecutor(1) as pool:
            store = encoded.Store(share, pool)
            store.add(rng.integers(0, 256, shape, dtype=np.uint8), wanted)
            sizes[kind] = len(store.pictures()[0])
    total = 3 * 16 * 9 * (sizes["image"] + sizes["change"] + 3 * sizes["map"])
    assert total + page.PHOTO_BYTES * 4 / 3 < 14e6


def test_images_that_look_clean_take_no_bytes_from_the_others(tmp_path: Path) -> None:
    run = make_run(tmp_path, epsilons=(0.001, 0.002, 0.1))
    run.experiment = dataclasses.replace(run.experiment, data=config.Data("demo", image_size=1000))
    (result,) = reading.read([run])
    # Two images can be seen, four perturbations and four heatmaps; 3 samples.
    wanted = 3 * 1000**2 * (2 * data.IMAGE + 4 * (data.CHANGE + data.HEATMAP))
    assert data.shares([result]) == (pytest.approx(data.BYTES / wanted), 3)


def test_more_runs_than_fit_show_fewer_images(tmp_path: Path) -> None:
    (result,) = reading.read([make_run(tmp_path)])
    many = [dataclasses.replace(result, setting=config.Attack(samples=16))] * 20
    for each in many:
        each.run.experiment = dataclasses.replace(
            each.run.experiment, data=config.Data("demo", image_size=512)
        )
    share, count = data.shares(many)
    assert 4 <= count < 16
    assert share <= data.LEAST
    assert data.shares([]) == (1.0, 0)


def test_ids_in_another_order_are_matched(tmp_path: Path) -> None:
    runs = two_runs(tmp_path)
    place = runs[1].path("attack", "linf_pgd", "linf_pgd-0.02.npz")
    arrays = load_npz(place)
    turned = {
        name: values if name.startswith("sample") else values[::-1]
        for name, values in arrays.items()
    }
    before = data.read(reading.read(runs))
    save_npz(place, **turned)
    assert data.read(reading.read(runs)) == before
    save_text(place, "damaged")
    with pytest.raises(Exception, match=r"linf_pgd-0\.02"):
        data.read(reading.read(runs))
