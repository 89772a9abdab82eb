"""The panel's figure: an image a row, a map a column, in the styles of the papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from attnrobust import task
from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.explanations.samples import Explained
from attnrobust.report.pictures import png, render

CAP = 99
# Both end where grey printing keeps them apart, and colour-blind readers as well.
HEAT = mpl.colormaps["inferno"]
# How much of an overlay is the map; the rest is the image, here of medium grey.
SHARE = 0.6
OVERLAID = ListedColormap(
    [SHARE * np.array(HEAT(level)[:3]) + (1 - SHARE) * 0.5 for level in range(HEAT.N)]
)
SINGLE = mpl.colormaps["Greys"]
SIGNED = LinearSegmentedColormap.from_list("signed", ["#d00000", "#ffffff", "#00a000"])
INCHES = 1.7
# Of the outline of a class, on dark and on light grounds.
LINE = "#00b4d8"


@dataclass(frozen=True)
class Column:
    """A column of the figure.

    Attributes:
        title: Its head.
        run: Whose maps they are.
        shown: Images and maps of the condition that is shown.
        clean: Those without an attack.
    """

    title: str
    run: Run
    shown: Explained
    clean: Explained

    def row(self, id_: str) -> int:
        """The place of an image among the samples."""
        return [str(each) for each in self.shown.ids].index(id_)


def _as_margeloiu(_: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """The map alone, in shades of one colour (Margeloiu et al., appendix B)."""
    return SINGLE(heatmap)[..., :3]


def _as_wu(image: np.ndarray, signed: np.ndarray) -> np.ndarray:
    """Green where positive, red where negative, over the faded image (Wu, figures 7 and 8)."""
    faded = 0.35 * _grey(image) + 0.65
    strength = np.abs(signed)[..., None]
    colour = np.where(signed[..., None] > 0, SIGNED(1.0)[:3], SIGNED(0.0)[:3])
    return (1 - strength) * faded + strength * colour


def _overlay(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """The map in colours over the image in grey: every colour comes from the map."""
    return SHARE * HEAT(heatmap)[..., :3] + (1 - SHARE) * _grey(image)


def _grey(image: np.ndarray) -> np.ndarray:
    return (image @ np.array([0.299, 0.587, 0.114]))[..., None]


@dataclass(frozen=True)
class Style:
    """A way to draw a map.

    Attributes:
        paint: Image (H, W, 3) and map (H, W), both scaled, to RGB (H, W, 3).
        colours: Of the colour bar.
        cap: Percentile of the map's absolute values that is its largest colour.
        signed: Whether it needs maps with a sign, from -1 to 1; else they go from 0 to 1.
    """

    paint: Callable[[np.ndarray, np.ndarray], np.ndarray]
    colours: Colormap
    cap: float = 100
    signed: bool = False


def draw(
    columns: Sequence[Column],
    ids: Sequence[str],
    classes: Sequence[str],
    *,
    style: str,
    shared: bool,
    what: str = "heat",
) -> Figure:
    """The figure: each image, then its map in every column, with what the model saw in it.

    Of class maps a line surrounds the class that is explained: as labelled on the image, as
    predicted on its maps.

    Args:
        columns: Of maps.
        ids: Of the images, a row each.
        classes: Names of the classes; empty where not known.
        style: Row of STYLES.
        shared: One scale for all maps of a row; else each has its own.
        what: All maps are of, for the colour bar.

    Raises:
        UserError: A style that needs a sign, of maps that have none; a map that is not finite.
    """
    look = STYLES[style]
    heads = [_folded(title) for title in ("image", *(column.title for column in columns))]
    lines = max(head.count("\n") for head in heads)
    size = (INCHES * (len(columns) + 1) + 0.9, (INCHES + 0.28) * len(ids) + 0.5 + 0.13 * lines)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(ids), len(columns) + 1, squeeze=False)
    for line, id_ in zip(grid, ids, strict=True):
        maps = [_map(column, id_, look) for column in columns]
        peaks = [_peak(each, look.cap) for each in maps]
        peaks = [max(peaks)] * len(peaks) if shared else peaks
        row = columns[0].row(id_)
        _picture(line[0], columns[0].clean.images[row])
        clean = columns[0].clean
        _outline(line[0], clean.region(clean.labels, row))
        line[0].set_xlabel(f"{id_}\n{_true(clean, row, classes)}", fontsize=7)
        for ax, column, found, peak in zip(line[1:], columns, maps, peaks, strict=True):
            row = column.row(id_)
            scaled = np.clip(found / peak, -1, 1) if peak > 0 else np.zeros_like(found)
            _picture(ax, np.clip(look.paint(column.shown.images[row], scaled), 0, 1))
            _outline(ax, column.shown.region(column.shown.predictions, row))
            text = _seen(column.shown, row, classes)
            ax.set_xlabel(text if peak > 0 else f"{text}, map of zeros", fontsize=7)
    for ax, head in zip(grid[0], heads, strict=True):
        ax.set_title(head, fontsize=8)
    _bar(figure, grid, look, what=what, shared=shared)
    # Once is not enough: titles of several lines would be cut at the top.
    figure.draw_without_rendering()
    return figure


def _map(column: Column, id_: str, look: Style) -> np.ndarray:
    """A column's map of an image.

    Raises:
        UserError: It has no sign where one is needed, or is not finite.
    """
    found = column.shown.signed if look.signed else column.shown.heatmaps
    if found is None:
        raise UserError(
            f"{column.run.root}: {column.title}: maps without a sign; this style draws positive "
            "and negative apart: take another --style, or a --method that has one"
        )
    heatmap = found[column.row(id_)].astype(np.float64)
    if not np.isfinite(heatmap).all():
        raise UserError(f"{column.run.root}: {column.title}: the map of {id_} is not finite")
    return np.asarray(heatmap)


def _peak(heatmap: np.ndarray, cap: float) -> float:
    """What of a map is 1; its largest value where the cap's is 0, as of a map of a few pixels."""
    values = np.abs(heatmap)
    return float(np.percentile(values, cap)) or float(values.max())


def _true(found: Explained, row: int, classes: Sequence[str]) -> str:
    """The true class; of class maps the one whose outline is drawn."""
    return _name(classes, found.labels[row] if found.labels.ndim == 1 else _explained(found, row))


def _seen(found: Explained, row: int, classes: Sequence[str]) -> str:
    """What the model sees in an image, and what its map explains if that is another class.

    Of class maps the class explained, and the image's Dice.
    """
    if found.labels.ndim == 1:
        seen = int(found.predictions[row])
        said = f"{_name(classes, seen)}{' (wrong)' if seen != found.labels[row] else ''}"
        # A map of another class than the one that is seen: the label's, or one that was asked for.
        other = found.targets is not None and found.targets[row] != seen
        return f"{said}\nmap of {_name(classes, _explained(found, row))}" if other else said
    (dice,) = task.score(found.predictions[row : row + 1], found.labels[row : row + 1])
    return f"{_name(classes, _explained(found, row))}, Dice {dice:.2f}"


def _explained(found: Explained, row: int) -> int:
    assert found.targets is not None, "asked beforehand; explain of class maps keeps them"
    return int(found.targets[row])


def _outline(ax: Axes, region: np.ndarray | None) -> None:
    """A line round a region, where it has a border."""
    if region is not None and region.any() and not region.all():
        ax.contour(region, levels=[0.5], colors=LINE, linewidths=0.7)


def _name(classes: Sequence[str], label: int) -> str:
    return classes[label] if label < len(classes) else f"class {label}"


def _picture(ax: Axes, pixels: np.ndarray) -> None:
    ax.imshow(pixels, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_linewidth(0.4)


def _bar(figure: Figure, grid: np.ndarray, look: Style, *, what: str, shared: bool) -> None:
    """The colour bar: the colours of the map, over medium grey where an image lies below it."""
    scale = ScalarMappable(Normalize(-1 if look.signed else 0, 1), look.colours)
    bar = figure.colorbar(scale, ax=grid, shrink=min(1.0, 3 / len(grid)), aspect=30, pad=0.02)
    most = "largest value" if look.cap == 100 else f"{look.cap}th percentile"
    whose = "of the row’s maps" if shared else "of each map"
    # Beside a single row of images there is no room for all in a line.
    bar.set_label(
        ("{},\n1 = {} {}" if len(grid) == 1 else "{}, 1 = {} {}").format(what, most, whose),
        fontsize=7,
    )
    bar.ax.tick_params(labelsize=7)


def write(figure: Figure, stem: Path) -> list[Path]:
    """The figure as PNG and PDF, each whole or not at all; the paths."""
    places = [stem.with_name(f"{stem.name}{ending}") for ending in (".png", ".pdf")]
    with runs.atomic(places[0]) as temporary:
        temporary.write_bytes(png(render(figure, dpi=200)))
    # Text stays text, and the same figure is the same file.
    with mpl.rc_context({"pdf.fonttype": 42}), runs.atomic(places[1]) as temporary:
        FigureCanvasPdf(figure).print_pdf(temporary, metadata={"CreationDate": None})
    return places


STYLES: dict[str, Style] = {
    "margeloiu": Style(_as_margeloiu, SINGLE, cap=CAP),
    "wu": Style(_as_wu, SIGNED, cap=CAP, signed=True),
    "overlay": Style(_overlay, OVERLAID),
}


def _folded(title: str, width: int = 18) -> str:
    """Broken after underscores and blanks, so that it stays over its own column."""
    words = title.replace("_", "_ ").split(" ")
    lines = [words[0]]
    for word in words[1:]:
        join = "" if lines[-1].endswith("_") else " "
        if len(lines[-1] + join + word) <= width:
            lines[-1] += join + word
        else:
            lines.append(word)
    return "\n".join(lines)
