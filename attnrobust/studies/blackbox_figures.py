"""Examples of attacks with the model's answers below them, and where the model puts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from attnrobust import task
from attnrobust.disk import runs
from attnrobust.measures import metrics
from attnrobust.report.figures import COLOURS, GREY, INK, MAPS, name_classes, plain
from attnrobust.report.pictures import png, render

# Of the t-SNE: classes drawn, and images of each at most.
SHOWN, EACH = 3, 100

Arrays = Mapping[str, np.ndarray]


def examples(
    clean: Arrays, found: Mapping[str, Arrays], name: str, classes: Sequence[str], file: Path
) -> None:
    """Write a PNG: sample images, what was added to them, and the model's probabilities.

    Columns are the image itself, its noisy twin and each attack's adversarial. What was added is
    scaled by the factor above it, grey being nothing.

    Args:
        clean: What the models see without an attack.
        found: What they see of the adversarials on this model, by the attack's name.
        name: Of the model.
        classes: Names, in the order of the logits.
        file: PNG.
    """
    first = next(iter(found.values()))
    samples = [int(np.flatnonzero(clean["id"] == id_)[0]) for id_ in first["sample_id"]]
    columns = ["no attack", "noise", *found]
    # A layout that fits itself would take seconds for so many axes.
    figure = Figure(figsize=(2.1 * len(columns), 6.4 * len(samples)))
    axes = figure.subplots(
        3 * len(samples),
        len(columns),
        squeeze=False,
        gridspec_kw={
            "height_ratios": [3, 3, 2] * len(samples),
            "hspace": 0.42,
            "wspace": 0.25,
            "left": 0.05,
            "right": 0.99,
            "top": 1 - 0.06 / len(samples),
            "bottom": 0.12 / len(samples),
        },
    )
    for row, place in enumerate(samples):
        original, label = first["sample_clean"][row], int(clean["label"][place])
        pictures = {
            "no attack": (original, clean[f"logits-{name}"][place]),
            "noise": (first["sample_noisy"][row], first[f"noisy-{name}"][place]),
            **{
                attack: (part["sample_image"][row], part[f"logits-{name}"][place])
                for attack, part in found.items()
            },
        }
        for column, (head, (image, logits)) in enumerate(pictures.items()):
            above, middle, below = axes[3 * row : 3 * row + 3, column]
            above.imshow(image)
            above.set_title(head, fontsize=10, color=INK)
            _difference(middle, image - original)
            _bars(below, metrics.probabilities(logits[None])[0], label, classes)
            for each in (above, middle):
                each.set_axis_off()
    with runs.atomic(file) as temporary:
        temporary.write_bytes(png(render(figure)))


def maps(
    clean: Arrays, found: Mapping[str, Arrays], name: str, classes: Sequence[str], file: Path
) -> None:
    """Write a PNG: of each sample image the label, and what a segmenter makes of it.

    Columns are the label, the image itself, its noisy twin and each attack's adversarial; images
    above, class maps with their Dice below.

    Args:
        clean: What the models see without an attack.
        found: What they see of the adversarials on this model, by the attack's name.
        name: Of the model.
        classes: Their names: each keeps its colour, also where no label shows it.
        file: PNG.
    """
    first = next(iter(found.values()))
    samples = [int(np.flatnonzero(clean["id"] == id_)[0]) for id_ in first["sample_id"]]
    heads = ["label", "no attack", "noise", *found]
    height = 4.2 * len(samples) + 0.35
    figure = Figure(figsize=(1.9 * len(heads), height))
    axes = figure.subplots(2 * len(samples), len(heads), squeeze=False)
    figure.subplots_adjust(0.01, 0.4 / height, 0.99, 0.96, wspace=0.05, hspace=0.12)
    for row, place in enumerate(samples):
        label, original = clean["label"][place], first["sample_clean"][row]
        cells = [
            (original, label),
            (original, clean[f"prediction-{name}"][place]),
            (first["sample_noisy"][row], first[f"noisy-{name}"][place]),
            *(
                (part["sample_image"][row], part[f"prediction-{name}"][place])
                for part in found.values()
            ),
        ]
        for column, (head, (image, seen)) in enumerate(zip(heads, cells, strict=True)):
            above, below = axes[2 * row : 2 * row + 2, column]
            above.imshow(image)
            below.imshow(seen, cmap=MAPS, vmin=0, vmax=len(classes) - 1, interpolation="nearest")
            above.set_title(head, fontsize=9, color=INK)
            below.set_title(f"Dice {task.score(seen[None], label[None])[0]:.2f}", fontsize=8)
            for each in (above, below):
                each.set_axis_off()
    name_classes(figure, classes)
    with runs.atomic(file) as temporary:
        temporary.write_bytes(png(render(figure)))


def _difference(ax: Axes, change: np.ndarray) -> None:
    largest = float(np.abs(change).max())
    factor = 0.5 / largest if largest else 1.0
    ax.imshow(np.clip(0.5 + factor * change, 0, 1))
    said = f"added, {factor:.3g} times" if largest else "nothing added"
    ax.set_title(said, fontsize=9, color=GREY)


def _bars(ax: Axes, probabilities: np.ndarray, label: int, classes: Sequence[str]) -> None:
    """A bar for each class; the label's in another colour."""
    colours = [COLOURS[2] if i == label else COLOURS[0] for i in range(len(classes))]
    ax.bar(range(len(classes)), probabilities, color=colours)
    ax.set_ylim(0, 1)
    ax.set_xticks(range(len(classes)), classes, rotation=60, ha="right")
    plain(ax)
    ax.tick_params(labelsize=7)


def embedding(
    clean: Arrays,
    found: Arrays,
    name: str,
    *,
    attack: str,
    classes: Sequence[str],
    seed: int,
    file: Path,
) -> dict[str, float]:
    """Write a PNG: a model's embeddings of clean, noisy and adversarial images, by t-SNE.

    One map holds all three; noisy images are drawn to the left, adversarials to the right. Of the
    commonest classes, images that the model has right.

    Args:
        clean: What the models see without an attack.
        found: What they see of the adversarials on this model.
        name: Of the model.
        attack: What made the adversarials.
        classes: Names, in the order of the logits.
        seed: Of the map.
        file: PNG.

    Returns:
        How far a noisy and an adversarial image's embedding lie from the image's own, as medians
        and as shares of the median distance between images of two classes: `noise`,
        `adversarial`. No map and nothing where fewer than four images are right.
    """
    chosen = _chosen(clean["label"], clean[f"logits-{name}"].argmax(axis=1))
    if len(chosen) < 4:
        return {}
    labels, ids = clean["label"][chosen], clean["id"][chosen]
    order = {id_: place for place, id_ in enumerate(found["id"])}
    same = [order[id_] for id_ in ids]
    parts = [
        clean[f"embedding-{name}"][chosen],
        found["noisy_embedding"][same],
        found["embedding"][same],
    ]
    points = TSNE(
        perplexity=min(30.0, (3 * len(chosen) - 1) / 3), init="pca", random_state=seed
    ).fit_transform(np.concatenate(parts))
    own, *others = np.split(points, 3)
    moved = _moved(parts, labels)
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    panels = zip(
        figure.subplots(1, 2, sharex=True, sharey=True),
        others,
        ("noise of the same SSIM", attack),
        moved.values(),
        ("o", "+"),
        strict=True,
    )
    for ax, theirs, what, far, marker in panels:
        for colour, class_ in zip(COLOURS, np.unique(labels), strict=False):
            of = labels == class_
            ax.scatter(*own[of].T, s=12, color=colour, label=classes[class_])
            look = {"facecolors": "none", "edgecolors": colour} if marker == "o" else {"c": colour}
            ax.scatter(*theirs[of].T, s=34, marker=marker, linewidths=0.9, **look)
        by = f": moved by {far:.2f} of the distance between classes" if np.isfinite(far) else ""
        ax.set_title(f"{what} ({marker}){by}", fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.legend(fontsize=8, frameon=False)
    with runs.atomic(file) as temporary:
        temporary.write_bytes(png(render(figure)))
    return moved


def _chosen(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Places of the images that are drawn."""
    right = labels == predicted
    counts = np.bincount(labels[right], minlength=1)
    commonest = np.argsort(-counts, kind="stable")[:SHOWN]
    places = [np.flatnonzero(right & (labels == class_))[:EACH] for class_ in commonest]
    return np.sort(np.concatenate(places))


def _moved(parts: Sequence[np.ndarray], labels: np.ndarray) -> dict[str, float]:
    own, noisy, adversarial = parts
    apart = np.linalg.norm(own[:, None] - own[None], axis=2)[labels[:, None] != labels[None]]
    scale = float(np.median(apart)) if len(apart) else float("nan")
    return {
        head: float(np.median(np.linalg.norm(part - own, axis=1))) / scale
        for head, part in (("noise", noisy), ("adversarial", adversarial))
    }
