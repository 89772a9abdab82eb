"""The attacks of a run: where each one is, its settings, its norm, as its own stamp tells them."""

from __future__ import annotations

from pathlib import Path

from attnrobust import config
from attnrobust.disk import stamps
from attnrobust.disk.stage import Staged
from attnrobust.errors import UserError


class Attacked(Staged):
    """A run's folder with the stages of any number of attacks."""

    def place_of(self, stage: str, label: str) -> str:
        """The folder, below the run, of the `attack` or `explain` stage of one attack.

        `<stage>/<label>`; but `<stage>` itself in runs made when there was one attack a run.
        """
        only = self.stamp("attack")
        before = only and stamps.attack(only, self.path("attack", "stage.json")).name == label
        return stage if before else f"{stage}/{label}"

    def attacks(self) -> dict[str, config.Attack]:
        """Settings of every finished attack by its label, sorted, as its own stamp tells them.

        Raises:
            UserError: A stamp is damaged.
        """
        found = {}
        for place in (self.path("attack", "stage.json"), *self.root.glob("attack/*/stage.json")):
            folder = place.parent
            stamp = self.stamp(str(folder.relative_to(self.root)))
            if stamp and stamp["finished"]:
                setting = stamps.attack(stamp, place)
                below = folder != self.path("attack")
                found[folder.name if below else setting.name] = setting
        return dict(sorted(found.items()))

    def outdated(self) -> list[str]:
        """Labels of the finished attacks that an earlier version of the attacks made, sorted.

        Their robust accuracies may be too high.
        """
        places = {label: self.place_of("attack", label) for label in self.attacks()}
        return [
            label
            for label, place in places.items()
            if stamps.outdated(self.stamp(place) or {}, place)
        ]

    def attacked(self, label: str) -> Path:
        """The folder of a finished attack.

        Raises:
            UserError: It has not finished; the finished ones are named.
        """
        known = self.attacks()
        if label not in known:
            others = f", or name one of these with --as: {', '.join(known)}" if known else ""
            raise UserError(f"{self.root}: run 'attack' first; '{label}' has not finished{others}")
        return self.path(self.place_of("attack", label))

    def norm(self, label: str) -> str:
        """The norm that an attack's epsilons are radii in: `linf`, `l2` or `l0`.

        Raises:
            UserError: Its stamp names no such norm.
        """
        place = self.place_of("attack", label)
        # L-inf attacks were all there was before stamps said which.
        norm = (self.stamp(place) or {}).get("norm", "linf")
        if norm not in ("linf", "l2", "l0"):
            raise UserError(
                f"{self.path(place, 'stage.json')}: norm = {norm!r}: expected linf, l2 or l0"
            )
        return str(norm)
