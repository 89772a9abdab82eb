"""Command lines of the page: each makes again what it names, with the run's own settings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from attnrobust.disk.places import RUNS
from attnrobust.disk.runs import Run, attack_file
from attnrobust.report.results import Result, grouped, once

PROGRAM = ("python", "-m", "attnrobust")


def again(run: Run, stages: str, *, place: str = "", label: str = "", more: str = "") -> str:
    """The command line of some stages of a run, whatever it was called and wherever it is kept.

    Args:
        run: The run.
        stages: What to walk.
        place: The stage whose settings are taken, such as `attack/linf_pgd`; that of the model
            where empty.
        label: What the attack is called.
        more: Further options.
    """
    name, *options = run.again(place or run.origin)
    words = ["run", name, *stages.split(), "--seed", str(run.experiment.seed)]
    if run.origin == "adopt":
        chosen = [] if stages == "all" else ["--stages", *stages.split()]
        words = ["test", name, "--name", run.experiment.name, *chosen]
    if label:
        words += ["--as", label]
    folder = (run.root if len(run.root.parts) > 3 else run.root.resolve()).parents[2]
    if folder != RUNS:
        words += ["--runs", str(folder)]
    return shlex.join([*PROGRAM, *words, *options, *more.split()])


def repeating(
    results: Sequence[Result],
    out: Path,
    *,
    baseline: str | None = None,
    title: str | None = None,
    claims: Path | None = None,
) -> list[str]:
    """The command lines that repeat every run and the report."""
    lines = [line for mine in grouped(results, "run").values() for line in _of_run(mine)]
    folders = [str(result.run.root) for result in once(results)]
    report = [*PROGRAM, "report", *folders, "--out", str(out)]
    for name, value in (("title", title), ("baseline", baseline), ("claims", claims)):
        report += [] if value is None else [f"--{name}", str(value)]
    return [*lines, shlex.join(report)]


def _of_run(mine: Sequence[Result]) -> list[str]:
    """One command where all stages take the same settings; else one for each kind of them."""
    run = mine[0].run
    made = [(each, run.place_of("attack", each.attack)) for each in mine if each.attack]
    heat = {place: _explained_as(each) for each, place in made}
    places = [run.origin, "predict", *heat, *filter(None, heat.values())]
    if len(made) < 2 and all(run.again(place) == run.again(run.origin) for place in places):
        # A check takes no attack that aims at a class.
        aimed = f"{run.origin} predict attack explain evaluate report export"
        return [again(run, aimed if mine[0].setting.target else "all", label=called(mine[0]))]
    lines = [again(run, run.origin)]
    if run.again("predict") == run.again(run.origin):
        lines = [again(run, f"{run.origin} predict")]
    else:
        lines.append(again(run, "predict", place="predict"))
    for each, place in made:
        stages = ["attack"] + ["check"] * each.path("check", "stage.json").is_file()
        explained = heat[place]
        alone = explained and run.again(explained) != run.again(place)
        stages += ["explain"] * bool(explained and not alone)
        lines.append(again(run, " ".join(stages), place=place, label=called(each)))
        if alone:
            lines.append(again(run, "explain", place=explained, label=called(each)))
    return [*lines, again(run, "evaluate")]


def _explained_as(result: Result) -> str:
    """The stage whose words made the heatmaps of an attack's samples; empty where there are none.

    Stamps of long ago do not tell: then they were the attack's.
    """
    run = result.run
    place = run.place_of("explain", result.attack)
    stamp = run.stamp(place)
    if stamp and not stamp.get("again"):
        return run.place_of("attack", result.attack)
    return place if stamp else ""


def heatmaps(result: Result) -> str:
    """The command that makes a run's heatmaps, after what they need."""
    run = result.run
    if not result.attack:
        return again(run, "attack explain evaluate", place="predict")
    there = result.path("attack", attack_file(result.setting.name, 0)).is_file()
    return again(
        run,
        "explain evaluate" if there else "attack explain evaluate",
        place=run.place_of("attack", result.attack),
        label=called(result),
        more="" if there else "--force",
    )


def called(result: Result) -> str:
    """What the attack is called in its run, where that is not its name; else nothing."""
    return result.attack if result.attack != result.setting.name else ""
