"""Whether the robust accuracy of a run can be trusted: what its sanity checks found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from attnrobust.disk import schemas, stamps
from attnrobust.disk.runs import digest
from attnrobust.report import randomisation
from attnrobust.report.blocks import Asked, Block, Details, Findings, Section
from attnrobust.report.commands import again, called
from attnrobust.report.results import Result, grouped, number

ORDER = ("warn", "note", "pass")
WORDS = (
    "A weak attack makes a model look robust. Each check tries to show that this happened: part of "
    "the test split was attacked again in other ways, at the ε where most is left to decide."
)


@dataclass(frozen=True)
class Trust:
    """The checks of one run under one attack.

    Attributes:
        result: Run and attack.
        command: What makes the checks anew.
        changed: What is another than when they were made, `model`, `attack` or `checks`
            themselves; empty where nothing is.
        epsilon: Radius at which the attacks were compared.
        images: Images that were attacked again.
        rows: Of each check its title, status, numbers and meaning; warnings first. None where there
            are no checks of the present model and attack.
    """

    result: Result
    command: str
    changed: str = ""
    epsilon: float = 0.0
    images: int = 0
    rows: tuple[dict[str, str], ...] = ()

    @property
    def warnings(self) -> list[dict[str, str]]:
        """The rows that raise doubt."""
        return [row for row in self.rows if row["status"] == "warn"]

    @property
    def heading(self) -> str:
        """The counts in a line, or why there are none."""
        if self.changed:
            return f"{self.result.label}: made before the {self.changed} changed"
        if not self.rows:
            return f"{self.result.label}: not checked"
        passed = sum(row["status"] == "pass" for row in self.rows)
        doubts = len(self.warnings)
        found = f"{doubts} of {doubts + passed} raise doubt" if doubts else f"all {passed} pass"
        return (
            f"{self.result.label}: {found} ({self.images} images, ε\u00a0=\u00a0"
            f"{number(self.epsilon)})"
        )


def section(results: Sequence[Result], _: Asked) -> Section | None:
    """What each check found, and what raises doubt for the first screen; None without attacks."""
    found = read(results)
    if not found:
        return None
    blocks = (WORDS, *map(_shown, found))
    said = tuple(sentences(found))
    return Section("trust", "Can these numbers be trusted?", blocks, summary=said)


def _shown(found: Trust) -> Block:
    if not found.rows:
        return Markup("{}. <code>{}</code>").format(found.heading, found.command)
    rows = tuple((row["title"], row["status"], _numbers(row)) for row in found.rows)
    doubtful = frozenset(i for i, row in enumerate(found.rows) if row["status"] == "warn")
    table = Findings(("Check", "Found", "Numbers"), rows, doubtful)
    return Details(found.heading, (table,), bool(found.warnings))


def _numbers(row: Mapping[str, str]) -> str:
    """The numbers of a check, and what they mean where they raise doubt."""
    if row["status"] != "warn":
        return row["said"]
    return Markup("{}<br><b>{}</b>").format(row["said"], row["meaning"])


def read(results: Sequence[Result]) -> list[Trust]:
    """The checks of every attacked result, without rows where there are none that belong to it.

    Raises:
        UserError: A damaged file.
    """
    return [_of(result) for result in results if result.attack]


def _of(result: Result) -> Trust:
    path = result.path("check", "checks.json")
    if not path.is_file():
        return Trust(result, _command(result))
    command = _command(result, "--force")
    if changed := _changed(result):
        return Trust(result, command, changed)
    value = schemas.load_json(path, schemas.Checks, f"make it anew with {command}")
    rows = sorted(value["checks"], key=lambda row: ORDER.index(row["status"]))
    return Trust(result, command, "", value["epsilon"], value["images"], tuple(rows))


def _command(result: Result, more: str = "") -> str:
    """What makes the checks, of a run of any name and place, from the attack's own settings."""
    place = result.run.place_of("attack", result.attack)
    return again(result.run, "check", place=place, label=called(result), more=more)


def _changed(result: Result) -> str:
    """What has changed since the checks were made: `model`, `attack`, `checks`, or nothing."""
    run, label = result.run, result.attack
    stamp = run.stamp(run.place_of("check", label))
    attack = run.stamp(run.place_of("attack", label))
    weights = run.weights
    if not stamp or not attack or not stamp["finished"]:
        return "attack"
    if stamps.outdated(stamp, "check"):  # of a time when they saw less
        return "checks"
    if weights.is_file() and stamp.get("weights") != digest(weights):
        return "model"
    made = run.attacked(label) / "stage.json"
    now = stamps.check_inputs(attack["inputs"], made, stamp.get("surrogate"))
    return "" if stamp["inputs"] == now else "attack"


def sentences(found: Sequence[Trust]) -> list[str]:
    """For the page's first screen: what raises doubt, and what was not checked."""
    said = []
    if weaker := [
        each.result for each in found if each.result.attack in each.result.run.outdated()
    ]:
        first = weaker[0]
        anew = again(
            first.run,
            "attack evaluate",
            label=called(first),
            more="--force",
            place=first.run.place_of("attack", first.attack),
        )
        said.append(
            f"Warning: {len(weaker)} of {len(found)} attacks were made by an earlier "
            "version, which may have left more standing than today's; their robust "
            "accuracies are not to be quoted. Make each anew, as that on "
            f"{first.label} with: {anew}"
        )
    for (_, name), mine in grouped([each.result for each in found], "group").items():
        keys = {result.key for result in mine}
        titles = [
            row["title"] for each in found if each.result.key in keys for row in each.warnings
        ]
        if titles:
            unique = "; ".join(dict.fromkeys(titles))
            said.append(f"Warning: on {name} these checks of the attack fail: {unique}.")
    for what in ("model", "attack", "checks"):
        old = sum(each.changed == what for each in found)
        if old:
            said.append(
                f"{old} of {len(found)} attacked runs have sanity checks that were made "
                f"before the {what} changed; they are not shown."
            )
    without = sum(not each.rows and not each.changed for each in found)
    if without:
        said.append(f"{without} of {len(found)} attacked runs have no sanity checks.")
    elif found and not said:
        said.append("All sanity checks of the attacks pass.")
    return [*said, *randomisation.sentences([each.result for each in found])]
