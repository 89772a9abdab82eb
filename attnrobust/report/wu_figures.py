"""Wu's Figures 5 and 6: success rate of PGD with 5 steps against 255 ε."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from attnrobust.config import Attack
from attnrobust.report.figures import INK, Curve, Look, plain
from attnrobust.report.figures import draw as draw_curves
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import Estimate, Result, number, once
from attnrobust.report.tables import heads

METRIC = "prediction_change_rate"
STEPS = 5
CAPTIONS = {
    "figure-5": "After Wu’s Figure 5: models trained on corrupted images, by their levels",
    "figure-5-balanced": "As above, trained with every class equally common",
    "figure-6": "After Wu’s Figure 6: trained as usual and on adversarials",
}


def draw(name: str, rows: Mapping[str, Sequence[Result]], look: Look) -> Picture | None:
    """Success rate against 255 ε of each row's runs.

    Args:
        name: Row of CAPTIONS.
        rows: Results by what they were trained on; the baseline first.
        look: Colours.

    Returns:
        The figure, or None where no run but the baseline's was attacked as Wu does.
    """
    fitting = {
        row: once(
            [
                each
                for each in members
                if each.norm == "linf" and as_wu(each.setting) and each.epsilons
            ]
        )
        for row, members in rows.items()
    }
    if not any(list(fitting.values())[1:]):
        return None
    figure = Figure(figsize=(8.0, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    ax = figure.subplots()
    handles: dict[str, Line2D] = {}
    said: list[str] = []
    for row, members in fitting.items():
        for head, seeds in heads(members):
            curves = [curve(each) for each in seeds]
            handles[f"{row}: {head}"] = draw_curves(ax, curves, *look[seeds[0].group])
            said += [f"{row}, {each.label}: {_in_words(each)}." for each in seeds]
    ax.set_xlim(left=0)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("255 ε", fontsize=10, color=INK)
    ax.set_ylabel("success rate: predictions changed, of all", fontsize=10, color=INK)
    plain(ax)
    figure.legend(
        handles.values(), handles, loc="outside lower center", fontsize=9, frameon=False, ncols=2
    )
    every = list(itertools.chain.from_iterable(fitting.values()))
    counts = sorted({each.clean["accuracy"].n for each in every})
    return Picture(
        name=f"wu-{name}",
        pixels=render(figure),
        alt="Line plot of the success rate of PGD against 255 ε. " + " ".join(said),
        caption=f"{CAPTIONS[name]}. {STEPS} steps of PGD in L-infinity on "
        f"{'–'.join(f'{count:,}' for count in counts)} test images (Wu: 240 of its validation "
        "set). Shaded: 95 % interval.",
        width=800,
    )


def as_wu(attack: Attack) -> bool:
    """PGD with 5 steps that every image takes, right or wrong, anew at every ε.

    Where images leave at their fall, or are wrong and never attacked, fewer predictions change.
    """
    return (
        attack.name == "linf_pgd"
        and attack.steps == STEPS
        and not attack.early_stop
        and attack.mode == "independent"
        and not attack.target
        and attack.random_start
        and attack.outputs == "logits"
        and (attack.restarts, attack.loss) == (1, "cross_entropy")
    )


def curve(result: Result) -> Curve:
    """255 ε from 0 on, where nothing has changed, and the success rates."""
    found = {epsilon: result.under(METRIC, epsilon) for epsilon in result.epsilons}
    points = [(0.0, Estimate(0.0))]
    points += [(255 * epsilon, rate) for epsilon, rate in found.items() if rate is not None]
    return [x for x, _ in points], [rate for _, rate in points]


def _in_words(result: Result) -> str:
    x, rates = curve(result)
    return ", ".join(
        f"{rate.value:.3f} at {number(place)}" for place, rate in zip(x, rates, strict=True)
    )
