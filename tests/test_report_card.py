"""Model card and checklist: each answer with its file and hash, and blank what no file tells."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_helpers import answered
from test_report import SCRIPT, make_run
from test_report_pairs import FIRST, N

from attnrobust.disk.runs import Run, load_json, save_json, save_text
from attnrobust.report import checklist, facts, galleries, model_facts, reading
from attnrobust.report.blocks import Asked
from attnrobust.report.page import write

pytestmark = pytest.mark.usefixtures("cheap_pages")


def made(run: Run) -> tuple[pd.DataFrame, str]:
    """Checklist and card of a run."""
    texts = checklist.section(reading.read([run]), Asked()).texts
    return pd.read_csv(io.StringIO(texts["checklist.csv"]), keep_default_na=False), texts[
        "model-card.md"
    ]


def held(run: Run) -> facts.Held:
    return facts.held(reading.read([run]))


def test_every_item_is_there_and_what_no_file_tells_is_blank(tmp_path: Path) -> None:
    frame, card = made(make_run(tmp_path, heatmaps=False))
    claim, tripod = (frame[frame["checklist"] == name] for name in ("CLAIM 2024", "TRIPOD+AI"))
    assert [*claim["item"]] == [str(number) for number in range(1, 45)]
    tops = dict.fromkeys(item.rstrip("abcdefg") for item in tripod["item"])
    assert [*tops] == [str(number) for number in range(1, 28)]
    by_item = claim.set_index("item")
    for never in ("3", "13", "14", "36", "40", "44"):
        assert by_item.loc[never, ["answer", "files", "sha256"]].eq("").all()
    assert by_item.loc["31", "answer"] == "", "no heatmaps were made"
    assert by_item.loc["12", "answer"] == "", "its records are gone"
    assert "- **intended use**: _not known from the files of this run_" in card
    assert "- **demography**: _not known" in card


def test_each_answer_has_the_files_that_it_is_from_and_their_hashes(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    answered(run, FIRST)
    frame, card = made(run)
    filled = frame[frame["answer"] != ""]
    assert len(filled) > 25
    for row in filled.itertuples():
        files, hashes = row.files.split("; "), row.sha256.split("; ")
        assert len(files) == len(hashes)
        for file, digest in zip(files, hashes, strict=True):
            assert digest == hashlib.sha256(Path(file).read_bytes()).hexdigest(), (row.item, file)
            assert digest[:16] in card or row.checklist
    assert (
        filled[filled["item"] == "38"]["files"]
        .eq(str(run.path("evaluate", "measurements.csv")))
        .all()
    )


def test_answers_are_what_the_files_hold(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    answered(run, FIRST, groups=np.array([f"p{i // 4}" for i in range(N)]))
    frame, card = made(run)
    claim = frame[frame["checklist"] == "CLAIM 2024"].set_index("item")["answer"]
    assert claim["7"] == "demo; records d00d"
    assert claim["20"] == "groups (a patient, a lesion): 40 test images of 10 groups"
    assert claim["22"].startswith("resnet50, width 1, cut full, head soft_attention, variant paper")
    assert "1,234,567 parameters" in claim["22"]
    assert claim["26"] == "lowest validation loss: epoch 3 of 5"
    assert claim["35"] == "test 40 images"
    assert "accuracy 0.750 (0.600–0.825)" in claim["37"]
    assert "melanoma 0.650 (0.520–0.715)" in claim["38"]
    # Of the last ten images every second one is melanoma.
    assert claim["39"] == "10 of 40 test images wrong; most often nevus read as melanoma (5)"
    assert "head soft\\_attention" in card


def test_what_heatmaps_were_computed_in_is_said_where_it_is_not_float32(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name) for name in ("whole", "half")]
    stamp = runs[1].path("explain", "linf_pgd", "stage.json")
    values = load_json(stamp)
    values["used"]["explanation"]["precision"] = "bfloat16"
    save_json(stamp, values)
    whole, half = (model_facts.explanations(held(run)) for run in runs)
    assert whole is not None
    assert half is not None
    assert (whole.text, half.text) == (
        "heatmaps: grad_cam",
        "heatmaps: grad_cam, computed in bfloat16",
    )
    results = reading.read(runs)
    assert galleries.computed(results) == " Maps of half were computed in bfloat16."
    first = next(iter(galleries.section(results, Asked()).blocks))
    assert str(first).endswith(" Maps of half were computed in bfloat16.")
    assert galleries.computed(results[:1]) == ""


def test_facts_that_most_runs_do_not_have(tmp_path: Path) -> None:
    run = make_run(tmp_path, heatmaps=False)
    every = (*facts.__dict__.values(), *model_facts.__dict__.values())
    assert sum(callable(each) for each in every) > 20
    assert facts.subset(held(run)) is None
    assert facts.level(held(run)) is None
    assert model_facts.failures(held(run)) is None
    save_text(run.path("train", "history.jsonl"), "")
    assert model_facts.selection(held(run)) is None
    values = load_json(run.path("config.json"))
    values["data"]["limit"] = 7
    save_json(run.path("config.json"), values)
    run = Run.open(run.root)
    found = facts.subset(held(run))
    assert found is not None
    assert found.text == "limit 7 images a split"
    provenance = load_json(run.path("provenance.json"))
    for key in ("packages", "dataset_hash", "revision"):
        del provenance[key]
    save_json(run.path("provenance.json"), provenance)
    for fact in (facts.source, model_facts.software, model_facts.code):
        assert fact(held(run)) is None


def test_records_are_asked_if_they_are_the_very_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "runs", heatmaps=False)
    split = {"count": 0, "class_counts": {"nevus": 0, "melanoma": 0}, "shards": []}
    described = {
        "name": "demo",
        "classes": ["nevus", "melanoma"],
        "size": 16,
        "splits": dict.fromkeys(("train", "validation", "test"), split),
        "hash": "d00d",
        "split_seed": 3,
        "fractions": [0.7, 0.1, 0.2],
        "rejects": 2,
        "filter": "graham",
    }
    place = tmp_path / "tfrecords/shards/demo/dataset.json"
    save_json(place, described)
    frame, _ = made(run)
    claim = frame[frame["checklist"] == "CLAIM 2024"].set_index("item")
    assert claim.loc["19", "answer"] == "at random, seed 3, shares 0.7, 0.1, 0.2"
    assert claim.loc["12", "answer"].startswith("2 rows without a usable image")
    assert "filter graham" in claim.loc["9", "answer"]
    assert claim.loc["19", "files"] == "tfrecords/shards/demo/dataset.json"
    for changed in ({**described, "hash": "0ther"}, {"name": "demo"}):
        save_json(place, changed)
        frame, _ = made(run)
        assert "19" not in set(frame[frame["answer"] != ""]["item"]), "others, or damaged"


def test_they_stand_beside_the_page_and_no_text_becomes_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path, classes=(SCRIPT, "[a](b) *c* `d`"), heatmaps=False)
    page = write([run], tmp_path / "out")
    card = (page.parent / "model-card.md").read_text(encoding="utf-8")
    assert SCRIPT not in card
    assert r"\<script\>alert(1)\</script\>" in card
    assert r"\[a\](b) \*c\* \`d\`" in card
    assert (page.parent / "checklist.csv").is_file()
    assert {"model-card.md", "checklist.csv"} <= set(
        load_json(page.parent / "report.json")["files"]
    )
    assert "Model card and checklist" in page.read_text(encoding="utf-8")
