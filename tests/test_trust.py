"""What the page says of the sanity checks: only of the present model and attack."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import pytest
import run_helpers

from attnrobust.attacks import sanity
from attnrobust.attacks.subject import Subject
from attnrobust.cli import main
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.report import randomisation, trust
from attnrobust.stages import pipeline
from attnrobust.stages.context import Context
from experiments.demo import resnet18_gap

ROWS = ("a pass", "b note", "c warn")


def row(text):
    name, status = text.split()
    return {
        "name": name,
        "title": f"{name} holds",
        "status": status,
        "said": f"{name} 0.5",
        "meaning": f"{name} is bad",
    }


@pytest.fixture
def attacked(records_folder, tmp_path):
    """A run of some name, attacked; its check stage finds what is asked for."""

    def make(name, *found, label="linf_pgd", **notes):
        settings = [f"name={name}", "data.image_size=32"]
        context = run_helpers.made(
            resnet18_gap.EXPERIMENT,
            records_folder,
            tmp_path / "my runs",
            *settings,
            label=label,
            **notes,
        )
        if found:
            check(context, *found)
        return context

    return make


def check(context, *found):
    """The check stage, its attacks left out."""
    rows = [row(text) for text in found]
    value = {"attack": "linf_pgd", "epsilon": 0.00125, "images": 80, "checks": rows}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "trained", lambda *_: None)
        patch.setattr(Subject, "of_sweep", lambda *_: None)
        patch.setattr(
            sanity, "check", lambda _, folder, __: runs.save_json(folder / "checks.json", value)
        )
        pipeline.check(context)


def result(context):
    """As much of a result as the section needs."""
    run, label = context.run, context.label
    return SimpleNamespace(
        run=run,
        attack=label,
        setting=run.attacks()[label],
        label=run.experiment.name,
        group=("demo", run.experiment.name),
        key=(run.root, label),
        path=lambda stage, *parts: run.path(run.place_of(stage, label), *parts),
    )


def read(*contexts):
    return trust.read([result(context) for context in contexts])


def test_warnings_come_first_and_reach_the_first_screen(attacked):
    shaky, sound = found = read(attacked("shaky", *ROWS), attacked("sound", "a pass", "c pass"))
    assert [each["name"] for each in shaky.rows] == ["c", "b", "a"]
    assert shaky.heading == "shaky: 1 of 2 raise doubt (80 images, ε\u00a0=\u00a00.00125)"
    assert sound.heading.startswith("sound: all 2 pass (80 images")
    said = trust.sentences(found)
    assert said == ["Warning: on shaky these checks of the attack fail: c holds."]


def test_what_was_not_checked_is_said(attacked):
    sound, never = attacked("sound", "a pass"), attacked("never")
    assert trust.sentences(read(sound)) == ["All sanity checks of the attacks pass."]
    found = read(sound, never)
    assert trust.sentences(found) == ["1 of 2 attacked runs have no sanity checks."]
    assert found[1].heading == "never: not checked"


def explained(context, *found):
    """As an explain stage leaves it; without what it found where it is of an earlier version."""
    folder = context.run.path("explain", context.label)
    runs.save_json(folder / "stage.json", {"used": {}, "inputs": "", "finished": True})
    if found:
        checks = [row(text) for text in found]
        runs.save_json(folder / "randomisation.json", {"images": 16, "checks": checks})


def test_heatmaps_that_do_not_show_the_model_reach_the_first_screen(attacked):
    shaky, sound = attacked("shaky", "a pass"), attacked("sound", "a pass")
    long_ago = attacked("long-ago", "a pass")
    explained(sound, "grad_cam pass")
    attacks, maps = trust.sentences(read(sound))
    assert attacks == "All sanity checks of the attacks pass."
    assert maps == "All heatmaps change with random weights, as they should."
    explained(shaky, "grad_cam pass", "edges warn", "unsure note")
    _, warned, noted = trust.sentences(read(sound, shaky))
    assert warned.startswith("Warning: on shaky the heatmaps of edges are much the same")
    assert (
        noted == "On shaky these images do not tell whether the heatmaps of unsure show the model."
    )
    assert randomisation.rows(result(long_ago)) is None
    assert [each["status"] for each in randomisation.rows(result(sound)) or ()] == ["pass"]
    explained(long_ago)
    *_, asked = trust.sentences(read(sound, long_ago))
    assert asked.startswith("The heatmaps of 1 of 2 explained runs were not tried on random")
    assert "explain" in asked
    assert asked.endswith("--force")
    shaky.run.path("explain", shaky.label, "randomisation.json").write_text("{}")
    damaged = read(shaky)
    with pytest.raises(UserError, match=r"randomisation\.json: damaged .*; make it anew with "):
        trust.sentences(damaged)


def test_checks_of_another_model_or_attack_are_not_shown(attacked):
    retrained, again = attacked("retrained", *ROWS), attacked("again", *ROWS)
    cut_off = attacked("cut-off", *ROWS)
    assert all(each.rows for each in read(retrained, again, cut_off))
    weights = retrained.run.path("train", "weights.h5")
    weights.write_text("other weights")
    run_helpers.attack(again, second="attack")
    stamp = cut_off.run.path("check", "linf_pgd", "stage.json")
    runs.save_json(stamp, {**runs.load_json(stamp), "finished": False})
    found = read(retrained, again, cut_off)
    assert not any(each.rows for each in found)
    assert [each.heading for each in found] == [
        "retrained: made before the model changed",
        "again: made before the attack changed",
        "cut-off: made before the attack changed",
    ]
    assert trust.sentences(found) == [
        "1 of 3 attacked runs have sanity checks that were made before the model changed; they are "
        "not shown.",
        "2 of 3 attacked runs have sanity checks that were made before the attack changed; they "
        "are not shown.",
    ]
    run_helpers.attack(retrained)
    assert read(retrained)[0].heading == "retrained: made before the model changed"


def test_checks_of_before_they_became_stricter_are_not_shown(attacked):
    """Their stamps name no version: `huge` and others passed then where they warn today."""
    context = attacked("long-ago", "a pass", "c pass")
    place = context.run.path("check", "linf_pgd", "stage.json")
    stamp = runs.load_json(place)
    del stamp["version"]
    runs.save_json(place, stamp)
    found = read(context)
    assert found[0].heading == "long-ago: made before the checks changed"
    assert "made before the checks changed; they are not shown" in trust.sentences(found)[0]


def test_an_attack_of_before_it_became_stronger_is_named_on_the_first_screen(attacked):
    again = ["demo.resnet18_gap", "--set", "name=long-ago"]
    context, today = attacked("long-ago", "a pass", again=again), attacked("today", "a pass")
    run_helpers.age(context.run.path("attack", "linf_pgd"))
    first, *_ = trust.sentences(read(context, today))
    assert first.startswith("Warning: 1 of 2 attacks were made by an earlier version")
    command = first.rpartition("long-ago with: ")[2]
    assert "attack evaluate" in command
    assert command.endswith("--set name=long-ago --force")
    assert trust.sentences(read(today)) == ["All sanity checks of the attacks pass."]


@pytest.mark.parametrize("state", ["missing", "old", "damaged"])
def test_what_the_page_advises_works(state, attacked, records_folder):
    """Whatever the run and its attack are called, and wherever runs and records are."""
    again = [
        "demo.resnet18_gap",
        "--records",
        str(records_folder),
        "--set",
        "name=mine-own",
        "--set",
        "data.image_size=32",
    ]
    context = attacked("mine-own", *ROWS, label="my_attack", again=again)
    path = context.run.path("check", "my_attack", "checks.json")
    if state == "missing":
        (path.parent / "stage.json").unlink()
        path.unlink()
    elif state == "old":
        run_helpers.attack(context, again=again, second="attack")
    if state == "damaged":
        path.write_text("{")
        with pytest.raises(
            UserError, match=r"checks\.json: damaged .*; make it anew with "
        ) as caught:
            read(context)
        command = str(caught.value).split("anew with ")[1]
    else:
        (found,) = read(context)
        assert not found.rows
        command = found.command
    python, option, module, *words = shlex.split(command)
    assert (python, option, module) == ("python", "-m", "attnrobust")
    contexts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            pipeline.STAGES, "check", lambda each: contexts.append(each) or check(each, *ROWS)
        )
        assert main(words) == 0
    assert contexts[0].run.root == context.run.root
    assert len(read(context)[0].rows) == 3, "and then the page shows them"
