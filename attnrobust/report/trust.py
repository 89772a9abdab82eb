"""Whether the robust accuracy of a run can be trusted: what its sanity checks found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnrobust.errors import UserError
from attnrobust.report.results import Result, grouped, number
from attnrobust.runs import load_json

ORDER = ("warn", "note", "pass")
NEEDED = ("name", "title", "status", "said", "meaning")


@dataclass(frozen=True)
class Trust:
    """The checks of one run under one attack.

    Attributes:
        result: Run and attack.
        epsilon: Radius at which the attacks were compared.
        images: Images that were attacked again.
        rows: Of each check its title, status, numbers and meaning; warnings first.
    """

    result: Result
    epsilon: float
    images: int
    rows: tuple[dict[str, str], ...]

    @property
    def warnings(self) -> list[dict[str, str]]:
        """The rows that raise doubt."""
        return [row for row in self.rows if row["status"] == "warn"]

    @property
    def heading(self) -> str:
        """The counts in a line."""
        passed = sum(row["status"] == "pass" for row in self.rows)
        doubts = len(self.warnings)
        found = f"{doubts} of {doubts + passed} raise doubt" if doubts else f"all {passed} pass"
        return (
            f"{self.result.label}: {found} ({self.images} images, ε\u00a0=\u00a0"
            f"{number(self.epsilon)})"
        )


def read(results: Sequence[Result]) -> list[Trust]:
    """The checks of every result that has them.

    Raises:
        UserError: A damaged file.
    """
    found = []
    for result in results:
        path = result.path("check", "checks.json") if result.attack else None
        if path is None or not path.is_file():
            continue
        value = load_json(path)
        try:
            rows = [{key: str(row[key]) for key in NEEDED} for row in value["checks"]]
            rows.sort(key=lambda row: ORDER.index(row["status"]))
            found.append(Trust(result, float(value["epsilon"]), int(value["images"]), tuple(rows)))
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}: damaged; delete it and run 'check' again") from None
    return found


def sentences(results: Sequence[Result], found: Sequence[Trust]) -> list[str]:
    """For the page's first screen: what raises doubt, and what was not checked."""
    said = []
    for (_, name), mine in grouped([each.result for each in found], "group").items():
        keys = {result.key for result in mine}
        titles = [row["title"] for each in found if each.result.key in keys
                  for row in each.warnings]  # fmt: skip
        if titles:
            unique = "; ".join(dict.fromkeys(titles))
            said.append(f"Warning: on {name} these checks of the attack fail: {unique}.")
    checked = {each.result.key for each in found}
    without = [each for each in results if each.attack and each.key not in checked]
    if without:
        said.append(f"{len(without)} of {sum(bool(each.attack) for each in results)} attacked runs "
                    "have no sanity checks.")  # fmt: skip
    elif found and not said:
        said.append("All sanity checks of the attacks pass.")
    return said
