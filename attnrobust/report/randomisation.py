"""Whether a run's heatmaps depend on what its model has learned: what its explain stage found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnrobust.disk import schemas
from attnrobust.report.commands import again, called
from attnrobust.report.results import Result, grouped


def rows(result: Result) -> list[dict[str, Any]] | None:
    """Of each method name, title, status, numbers and meaning; None where it was not asked.

    Raises:
        UserError: A damaged file.
    """
    path = result.path("explain", "randomisation.json")
    if not path.is_file():
        return None
    found = schemas.load_json(path, schemas.Randomised, f"make it anew with {_command(result)}")
    return list(found["checks"])


def _command(result: Result) -> str:
    place = result.run.place_of("attack", result.attack)
    return again(result.run, "explain evaluate", place=place, label=called(result), more="--force")


def sentences(results: Sequence[Result]) -> list[str]:
    """For the page's first screen: which heatmaps do not show the model, and what was not asked.

    Args:
        results: Attacked runs; those that were not explained are passed over.

    Raises:
        UserError: A damaged file.
    """
    explained = [each for each in results if each.path("explain", "stage.json").is_file()]
    found = {each.key: rows(each) for each in explained}
    said = []
    for (_, name), members in grouped(explained, "group").items():
        checks = [row for each in members for row in found[each.key] or ()]
        for status, words in (
            (
                "warn",
                "Warning: on {} the heatmaps of {} are much the same with random weights: they "
                "show the image, not what the model has learned.",
            ),
            ("note", "On {} these images do not tell whether the heatmaps of {} show the model."),
        ):
            methods = dict.fromkeys(row["name"] for row in checks if row["status"] == status)
            if methods:
                said.append(words.format(name, ", ".join(methods)))
    without = [each for each in explained if found[each.key] is None]
    if without:
        said.append(
            f"The heatmaps of {len(without)} of {len(explained)} explained runs were not tried on "
            f"random weights; on {without[0].label} that does: {_command(without[0])}"
        )
    elif explained and not said:
        said.append("All heatmaps change with random weights, as they should.")
    return said
