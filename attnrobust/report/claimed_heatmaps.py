"""What each run's heatmaps are like, image by image: what claims on heatmaps are asked of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnrobust.explanations import samples
from attnrobust.explanations.samples import Explained
from attnrobust.report import claims
from attnrobust.report.claims import Claim, Side
from attnrobust.report.results import Result, key


@dataclass(frozen=True)
class Heat:
    """Of one run.

    Attributes:
        label: Whose samples these are, as `samples.load` takes it.
        result: The run.
        clean: The sample images without an attack, and their maps.
        values: A number of each image's map in the claim's condition (S,); NaN: not defined.
    """

    label: str
    result: Result
    clean: Explained
    values: np.ndarray


def read(claim: Claim, side: Side, results: Sequence[Result]) -> list[Heat]:
    """Every seed of a side; none where one of them lacks such maps, or the region they need.

    Under an attack they are of its samples, else of the first that were explained this way.

    Raises:
        UserError: A damaged file.
    """
    name, _, method = claim.metric.removesuffix("]").partition("[")
    found = []
    for result in results:
        explained = samples.explained(result.run)
        labels = [result.attack] if claims.attacked(claim) else list(explained)
        label = next((each for each in labels if method in explained.get(each, ())), "")
        asked = key(side.epsilon / result.asked_scale) if side.epsilon else key(0)
        epsilon = next((each for each in (0.0, *result.epsilons) if key(each) == asked), None)
        if not label or epsilon is None:
            return []
        clean = samples.load(result.run, label, method)
        shown = clean
        if epsilon:
            shown = samples.regioned(samples.load(result.run, label, method, epsilon), clean)
        if name not in shown.measured:
            return []
        found.append(Heat(label, result, clean, shown.values(name)))
    return found


def apart(several: Sequence[Heat]) -> str:
    """Why these cannot be compared, in words; empty where they can."""
    first = several[0]
    for each in several:
        if not samples.current(each.result.run, each.label):
            where = each.result.run.root
            return f"the heatmaps of {where} are older than their images: explain it again"
        if why := _unlike(each, first):
            return why
    if not len(aligned(several[:1], several[1:])[2]):
        return "no image has such a number in all of them"
    return ""


def _unlike(each: Heat, first: Heat) -> str:
    if each.clean.images.shape[1:] != first.clean.images.shape[1:]:
        return "their heatmaps are of another size"
    if set(each.clean.ids) != set(first.clean.ids):
        return "their heatmaps are of other sample images"
    if not np.array_equal(each.clean.images[_places(each, first)], first.clean.images):
        return "images of one name are not the same in both"
    now, before = (samples.setting(of.result.run, of.label) for of in (each, first))
    other = samples.unlike(now, before)
    return f"their heatmaps differ in explanation.{', explanation.'.join(other)}" if other else ""


def aligned(
    one: Sequence[Heat], other: Sequence[Heat]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of either side (seeds, 1, images) and groups of the images that all have one of."""
    first = one[0]
    sides = [
        np.stack([each.values[_places(each, first)] for each in side]) for side in (one, other)
    ]
    defined = ~np.isnan(np.concatenate(sides)).any(axis=0)
    return sides[0][:, None, defined], sides[1][:, None, defined], first.clean.groups[defined]


def _places(each: Heat, first: Heat) -> list[int]:
    places = {id_: place for place, id_ in enumerate(each.clean.ids)}
    return [places[id_] for id_ in first.clean.ids]
