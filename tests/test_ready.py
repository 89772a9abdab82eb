"""What can be known before a night of training is said before it, in one line."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from run_helpers import made

import experiments
from attnrobust import config
from attnrobust.attacks import checks
from attnrobust.data import records
from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.explanations import precision
from attnrobust.models import build
from attnrobust.run import main
from attnrobust.stages import pipeline
from attnrobust.stages.context import Context
from attnrobust.stages.ready import READY, ready
from attnrobust.training import fit
from attnrobust.training import ready as training

WALKED = ["train", "predict", "attack", "check", "explain", "evaluate", "export"]


@pytest.fixture(autouse=True)
def _nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "train", lambda *_: pytest.fail("a night of training has begun"))


def call(experiment: config.Experiment, records_folder: Path, folder: Path, *words: str) -> int:
    return main(
        experiment, [*words, "--records", str(records_folder), "--runs", str(folder / "runs")]
    )


def test_every_stage_has_a_ready_step() -> None:
    assert list(READY) == list(pipeline.STAGES)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("attack.name=pgd", r"no attack\.name 'pgd'; did you mean l2_pgd.* known: .*linf_pgd"),
        ("attack.target=melanoma", r"no attack\.target 'melanoma'; known: akiec, bcc, .*, vasc"),
        ("attack.loss=hinge", r"no attack\.loss 'hinge'; known: cross_entropy, margin"),
        ("attack.first_passes=one", r"no attack\.first_passes 'one'; known: one_step, bfloat16"),
        (
            "attack.scale=model_input --set attack.epsilons=300",
            r"attack\.epsilons = 150: expected at most 1",
        ),
        ("attack.batch_size=2147483647", r"attack\.batch_size = 2147483647: needs at least .* GB"),
        (
            "training.class_weights=none --set training.sampling=smote --set data.limit=8",
            r"training\.sampling = smote: ",
        ),
        ("attack.epsilons=2", r"attack\.epsilons = 2: expected at most 1"),
        (
            "corruptions.names=jpg",
            r"no corruptions\.names 'jpg'; did you mean jpeg\? known: gaussian",
        ),
        (
            "explanation.methods=gradcam",
            r"no explanation\.methods 'gradcam'; did you mean grad_cam",
        ),
        ("explanation.layer=feature", r"explanation\.layer 'feature': no such layer; .*conv2_relu"),
        (
            "explanation.layer=logits",
            r"explanation\.layer 'logits' gives no \(H, W, C\) feature map",
        ),
        ("explanation.target=7", r"explanation\.target = 7: expected .* or its number, 0 to 6"),
        ("explanation.baseline=grey", r"no explanation\.baseline 'grey'; known: black, white"),
        (
            "model.head=gap --set explanation.methods=attention",
            r"explanation\.methods 'attention': the network has no soft attention",
        ),
        ("training.augmentation=flips", r"no training\.augmentation 'flips'; did you mean flip"),
        ("training.corruptions=jpg", r"no training\.corruptions 'jpg'; did you mean jpeg"),
        ("training.schedule=cos", r"no training\.schedule 'cos'; did you mean cosine"),
        ("training.optimizer=sdg", r"no training\.optimizer 'sdg'; did you mean sgd"),
        ("training.loss=focus", r"no training\.loss 'focus'; .*known: cross_entropy, focal"),
        (
            "training.class_weights=none --set training.sampling=over",
            r"no training\.sampling 'over'; .*known: none, over",
        ),
        ("training.class_weights=even", r"no training\.class_weights 'even'; .*known: none"),
        ("training.method=trade", r"no training\.method 'trade'; did you mean trades"),
        ("training.augmix_operations=turn", r"training\.augmix_operations 'turn'; .*known: "),
        ("training.start=other", r"training\.start = other: no run"),
        ("model.backbone=smal", r"no model\.backbone 'smal'; did you mean small"),
        ("model.head=gpa", r"no model\.head 'gpa'; did you mean gap"),
        ("model.cut=literal", r"no model\.cut of small 'literal'; known: full"),
        ("model.weights=nowhere.h5", r"model\.weights = nowhere\.h5: no such file"),
        ("data.task=binary", "no task 'binary'; demo has none"),
        ("data.limit=9223372036854775808", r"data\.limit = 9223372036854775808: expected a number"),
    ],
)
def test_a_mistyped_setting_is_one_line_before_the_first_stage(
    setting: str,
    message: str,
    tiny: config.Experiment,
    records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(tiny, records_folder, tmp_path, *WALKED, "--set", *setting.split()) == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing is left that could stand in the way"


def test_too_few_classes_for_a_loss_are_told_before_training(
    tiny: config.Experiment,
    records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = records.load(records_folder)
    two = dataclasses.replace(dataset, classes=("no", "yes"))
    monkeypatch.setattr(Context, "dataset", lambda _: two)
    words = ["train", "attack", "--set", "attack.loss=dlr"]
    assert call(tiny, records_folder, tmp_path, *words) == 1
    assert "attack.loss = dlr: expected at least 3 classes" in capsys.readouterr().err
    # An attack that has a loss of its own does not mind; its check does.
    own = config.Attack("autoattack", loss="dlr")
    checks.ready(own, two.classes)
    with pytest.raises(UserError, match=r"attack\.loss = dlr: expected at least 3 classes"):
        checks.doubtable(own, two.classes)
    aimed = config.Attack(loss="dlr", target="nv")
    with pytest.raises(UserError, match=r"expected at least 4 classes with attack\.target"):
        checks.ready(aimed, ("bcc", "mel", "nv"))


def test_a_check_of_an_attack_that_aims_is_refused_before_training(
    tiny: config.Experiment,
    records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    aimed = ["--set", "attack.target=nv"]
    for words in (["train", "attack", "check"], ["all"]):
        assert call(tiny, records_folder, tmp_path, *words, *aimed) == 1
        assert "attack.target = nv: check judges attacks that take" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())
    context = made(tiny, records_folder, tmp_path, *aimed[1:])
    with pytest.raises(UserError, match="check judges attacks that take any wrong class"):
        ready(context, ["check"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "evaluate"], "run 'predict' first"),
        (["train", "predict", "report"], "run 'evaluate' first"),
        (["train", "check"], "run 'attack' first; 'linf_pgd' has not finished"),
        (
            ["train", "attack", "--as", "l2_pgd"],
            "--as l2_pgd: that is another attack than linf_pgd",
        ),
        (["train", "explain", "--as", "mine"], "run 'attack' first; 'mine' has not finished"),
        (["predict"], "run 'train' first"),
        (["export"], "run 'train' first"),
    ],
)
def test_a_stage_that_is_left_out_is_missed_at_once(
    words: list[str],
    message: str,
    tiny: config.Experiment,
    records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(tiny, records_folder, tmp_path, *words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_another_programs_folder_in_the_pages_place_is_told_before_training(
    tiny: config.Experiment,
    records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    context = Context(Run.of(tiny, tmp_path / "runs"), records_folder)
    runs.save_text(context.page() / "index.html", "mine")
    assert call(tiny, records_folder, tmp_path, "all") == 1
    assert "holds other files than a report of attnrobust" in capsys.readouterr().err


def test_results_of_other_settings_are_told_before_training(
    tiny: config.Experiment, records_folder: Path, tmp_path: Path
) -> None:
    context = made(tiny, records_folder, tmp_path)
    context.run.path("train", "weights.h5").unlink()
    other = config.with_settings(tiny, ["attack.steps=7"])
    asked = Context(Run(context.run.root, other), records_folder)
    with pytest.raises(UserError, match=r"attack\.steps 4 \(now 7\).*--as LABEL"):
        ready(asked, ["train", "predict", "attack"])
    ready(dataclasses.replace(asked, force=True), ["train", "predict", "attack"])
    ready(dataclasses.replace(asked, name="longer"), ["train", "predict", "attack"])


def test_what_stands_asks_for_nothing_that_has_gone_since(
    tiny: config.Experiment, records_folder: Path, tmp_path: Path
) -> None:
    """The file that training started from may be away once it has finished."""
    start = tmp_path / "start.h5"
    start.write_text("weights")
    context = made(tiny, records_folder, tmp_path, f"model.weights={start}")
    start.unlink()
    ready(context, ["train"])
    with pytest.raises(UserError, match=r"model\.weights = .*start\.h5: no such file"):
        ready(dataclasses.replace(context, force=True), ["train"])


def test_an_empty_test_split_is_told_before_training(
    tiny: config.Experiment, records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = records.load(records_folder)
    nothing = {**dataset.splits["test"], "count": 0, "shards": []}
    empty = dataclasses.replace(dataset, splits={**dataset.splits, "test": nothing})
    monkeypatch.setattr(Context, "dataset", lambda _: empty)
    context = Context(Run.of(tiny, tmp_path), records_folder)
    for stage in ("predict", "attack"):
        with pytest.raises(UserError, match="no example in the test split"):
            ready(context, ["train", stage])


def test_one_of_several_workers_touches_no_device_before_it_has_joined(
    tiny: config.Experiment, tmp_path: Path
) -> None:
    """Records are asked for after that, and nothing is trained before."""
    context = Context(Run.of(tiny, tmp_path), tmp_path / "nowhere", machines="multi_worker")
    ready(context, ["train"])
    with pytest.raises(UserError, match="no records there"):
        ready(dataclasses.replace(context, machines="mirrored"), ["train"])


def test_more_groups_than_there_are_is_told_before_the_epochs_of_the_head(
    tiny: config.Experiment, records_folder: Path, tmp_path: Path
) -> None:
    asked = config.with_settings(tiny, ["training.groups=9", "training.head_epochs=1"])
    dataset = records.load(records_folder)
    with pytest.raises(UserError, match=r"training\.groups = 9: expected at most 3"):
        fit._built(asked, dataset, tmp_path, fit.tf.distribute.get_strategy())


def test_every_experiment_of_ours_is_ready(experiments_known: list[config.Experiment]) -> None:
    for experiment in experiments_known:
        training.ready(experiment)
        checks.settings(experiment.attack)
        build.ready(experiment.model, image_size=experiment.data.image_size)


@pytest.fixture
def experiments_known() -> list[config.Experiment]:
    return [experiments.load(name) for name in experiments.known()]


def test_a_machine_without_bfloat16_says_so_first_but_keeps_what_another_one_made(
    tiny: config.Experiment,
    records_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: False)
    context = made(tiny, records_folder, tmp_path, "explanation.precision=bfloat16")
    message = r"explanation\.precision = bfloat16: .*; expected float32"
    with pytest.raises(UserError, match=message):
        ready(context, ["explain"])
    with context.run.stage(context.place("explain"), used=context.asked("explain")):
        pass
    ready(context, ["explain"])
    with pytest.raises(UserError, match=message):
        ready(dataclasses.replace(context, force=True), ["explain"])
