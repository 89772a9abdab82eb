"""Fine-tuning ever more of a model: what each run learns, what is counted, what is kept."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from attnrobust import cli as command
from attnrobust import config
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.run import main
from attnrobust.studies import unfreezing
from attnrobust.studies import unfreezing_table as page
from experiments.demo import resnet18_gap

pytestmark = pytest.mark.usefixtures("cheap_pages")
SETTINGS = [
    "attack.epsilons=0.01",
    "attack.steps=2",
    "attack.rel_stepsize=0.5",
    "training.epochs=1",
    "training.learning_rate=1e-3",
    "training.augmentation=",
]


@pytest.fixture(scope="module")
def trained(one_device, uncompiled, records_folder, tmp_path_factory):
    """Folder of a small run, trained on adversarials."""
    folder = tmp_path_factory.mktemp("trained")
    words = [
        "train",
        "--smoke",
        "--records",
        str(records_folder),
        "--runs",
        str(folder),
        "--set",
        "data.image_size=32",
        "--set",
        "model.backbone=small",
        "--set",
        "training.method=adversarial",
        "--set",
        "training.inner_steps=2",
        "--set",
        "training.inner_rel_stepsize=0.5",
    ]
    assert main(resnet18_gap.EXPERIMENT, words) == 0
    return folder


def test_the_run_to_start_from_is_trained(trained):
    """Apart, so that what training costs is not counted to what follows."""
    (run,) = runs.find_runs([trained])
    assert run.experiment.training.method == "adversarial"


@pytest.mark.slow
def test_every_group_more_learns_and_the_rest_stays(
    trained, records_folder, tmp_path, capsys, caplog
):
    shutil.copytree(trained, tmp_path / "r")
    root = tmp_path / "r" / "demo" / "resnet18_gap-smoke" / "seed-0"
    other = tmp_path / "r" / "demo" / "plain" / "seed-0"
    shutil.copytree(root, other)
    words = [
        "unfreeze",
        str(root),
        "--records",
        str(records_folder.parent),
        "--standard",
        str(other),
        "--out",
        str(tmp_path / "out"),
        "--groups",
        "2",
    ]
    settings = runs.load_json(other / "config.json")
    settings |= {"name": "plain", "attack": {**settings["attack"], "steps": 7}}
    runs.save_json(other / "config.json", settings)
    files = {path: path.read_bytes() for path in sorted(root.parents[1].rglob("*.*"))}
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    assert command.main(words) == 0
    table = pd.read_csv(tmp_path / "out" / "unfreeze.csv")
    assert list(table["groups"].fillna(-1)) == [-1, -1, 0, 0, 2, 2]
    assert list(table["epsilon"]) == [0, 0.01] * 3
    assert list(table["accuracy"][:2]) == list(table["accuracy"][2:4]), "the same weights"
    assert all(path.read_bytes() == content for path, content in files.items())
    assert sorted(files) == sorted(root.parents[1].rglob("*.*")), "the runs given stay as they are"
    folder = tmp_path / "out" / "runs" / "demo"
    copies = [runs.Run.open(folder / name / "seed-0") for name in ("plain", "resnet18_gap-smoke")]
    one, two = (copy.attacks()["unfreeze"] for copy in copies)
    assert one == two, "attacked alike, whatever the standard run says"
    learned = runs.Run.open(folder / "resnet18_gap-smoke-groups-2" / "seed-0").experiment.training
    assert (learned.method, learned.schedule, learned.patience) == ("standard", "plateau", 10)
    assert (learned.plateau_epochs, learned.groups, learned.learning_rate) == (5, 2, 1e-3)
    assert (tmp_path / "out" / "unfreeze.png").is_file()
    base = root / "train" / "weights.h5"
    tuned = folder / "resnet18_gap-smoke-groups-2" / "seed-0"
    assert _unchanged(base, tuned) == {"conv1"}
    kept = tuned / "train" / "weights.h5"
    before = kept.stat().st_mtime_ns
    assert command.main(words) == 0
    assert kept.stat().st_mtime_ns == before
    assert command.main([*words, "--set", "attack.steps=3"]) == 1
    said = "".join(capsys.readouterr()) + caplog.text
    assert "results of other runs or settings stand there" in said
    shutil.copyfile(kept, other / "train" / "weights.h5")
    assert command.main(words) == 1
    assert "copied from other weights than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "attack.first_passes=one"], "no attack.first_passes 'one'"),
        (["--set", "training.augmentation=flips"], "no training.augmentation 'flips'"),
        (["--groups", "1", "9"], "--groups 9: expected at most 3, the layer groups of small"),
    ],
)
def test_what_could_not_begin_is_refused_before_anything_is_copied(
    words, message, trained, records_folder, tmp_path, capsys
):
    (run,) = runs.find_runs([trained])
    asked = [
        "unfreeze",
        str(run.root),
        "--records",
        str(records_folder.parent),
        "--out",
        str(tmp_path / "out"),
        *words,
    ]
    assert command.main(asked) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.task=binary", "data.task is 'binary', expected that of .*, ''"),
        ("name=plain", "expected a run of another experiment or seed"),
    ],
)
def test_a_standard_run_of_something_else_is_refused(setting, words, tmp_path):
    plain = config.Experiment(name="plain", data=config.Data(dataset="demo"))
    both = [
        runs.Run.of(plain, tmp_path / "a"),
        runs.Run.of(config.with_settings(plain, [setting]), tmp_path / "b"),
    ]
    for run in both:
        with run.stage("train", used={"training": {}}):
            pass
    with pytest.raises(UserError, match=words):
        unfreezing.unfreeze(both[0], tmp_path, tmp_path / "out", [], standard=both[1])


def _unchanged(base, root):
    """Stages of the backbone whose weights are those of the base, to the last bit."""
    before, after = _weights(base), _weights(root / "train" / "weights.h5")
    stages = {name.partition("_")[0] for name in before if name.startswith("conv")}
    return {
        stage
        for stage in stages
        if all(
            np.array_equal(before[name], after[name]) for name in before if name.startswith(stage)
        )
    }


def _weights(file):
    import h5py

    found = {}
    with h5py.File(file) as stored:
        stored.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


@pytest.mark.usefixtures("in_full")
def test_counts_by_hand_and_their_figure(tmp_path):
    attack = config.Attack(epsilons=(0.1,))
    for name, hits in (("a", (4, 1)), ("b", (3, 0)), ("lucky", (2, 3))):
        for epsilon, right in zip((0.0, 0.1), hits, strict=True):
            logits = np.eye(2)[[0] * right + [1] * (4 - right)]
            runs.save_npz(
                tmp_path / name / "attack" / "x" / runs.attack_file("linf_pgd", epsilon),
                logits=logits,
                label=np.zeros(4, int),
            )
    roots = {0: tmp_path / "a", 3: tmp_path / "b", None: tmp_path / "b", 4: tmp_path / "lucky"}
    table = page.measure(roots, attack, "x")
    assert list(table["groups"][[0, 1, 2, 3, 6, 7]]) == [0, 0, 3, 3, 4, 4]
    assert table["groups"][4:6].isna().all()
    assert list(table["accuracy"]) == [1, 0.25, 0.75, 0, 0.75, 0, 0.5, 0.5]
    assert list(table["n"]) == [4] * 8
    assert table["low"][0] == pytest.approx(1 / (1 + 1.959964**2 / 4), rel=1e-5)
    page.draw(table, tmp_path / "unfreeze.png", norm="linf")
    assert (tmp_path / "unfreeze.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.limit=8", "unfreeze takes settings of training and attack"),
        ("attack.target=nv", "unfreeze judges attacks that take any wrong class"),
    ],
)
def test_settings_that_would_compare_unlike_things_are_refused(setting, words, tmp_path):
    run = runs.Run(tmp_path / "run", config.Experiment(name="a", data=config.Data(dataset="demo")))
    with run.stage("train", used={"training": {}}):
        pass
    with pytest.raises(UserError, match=words):
        unfreezing.unfreeze(run, tmp_path, tmp_path / "out", [setting])
