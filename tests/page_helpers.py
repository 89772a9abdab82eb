"""The blocks of a section by their kind; runs whose images are right where a test says so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnrobust.disk.runs import Run, attack_file, save_json, save_npz
from attnrobust.report.blocks import Section, Table
from attnrobust.report.pictures import Picture


def words(section: Section) -> list[str]:
    return [block for block in section.blocks if isinstance(block, str)]


def tables(section: Section) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def pictures(section: Section) -> list[Picture]:
    return [block for block in section.blocks if isinstance(block, Picture)]


def answered(
    run: Run,
    right: Mapping[float, np.ndarray],
    *,
    groups: np.ndarray | None = None,
    corrupted: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write which of its images a run has right.

    Args:
        run: With an attack's stamp.
        right: (N,) bool by epsilon, 0 being without an attack.
        groups: Of the images.
        corrupted: (N,) bool by `<corruption>-<severity>`.
    """
    n = len(right[0])
    label = np.arange(n) % 2
    arrays = {"id": np.array([f"image-{i}" for i in range(n)]), "label": label}
    if groups is not None:
        arrays["group"] = groups

    def logits(hits: np.ndarray) -> np.ndarray:
        return np.eye(2, dtype=np.float32)[np.where(hits, label, 1 - label)]

    save_json(run.path("predict", "stage.json"), {"used": {}, "inputs": "", "finished": True})
    save_npz(run.path("predict", "clean.npz"), **arrays, logits=logits(right[0]))
    for name, hits in (corrupted or {}).items():
        place = run.path("predict", f"corruption-{name}.npz")
        save_npz(place, **arrays, logits=logits(hits))
    for attack, setting in run.attacks().items():
        for epsilon, hits in right.items():
            place = run.attacked(attack) / attack_file(setting.name, epsilon)
            size = np.full(n, epsilon)
            shown = {
                "sample_id": arrays["id"][:3],
                "sample_image": np.full((3, 16, 16, 3), min(1, 0.5 + epsilon), np.float32),
            }
            save_npz(place, **arrays, **shown, logits=logits(hits), linf=size, l2=size)
