"""A model that was trained elsewhere: the `adopted` section."""

from __future__ import annotations

from dataclasses import dataclass

from attnrobust.config.checking import require

# What a model's last layer gives.
ENDS = ("logits", "softmax", "sigmoid")


@dataclass(frozen=True)
class Adopted:
    """Which file is taken for the model, and what it was trained to take and give.

    Attributes:
        file: `.keras`, `.h5`, SavedModel folder, or `package.module:function` that returns a
            keras.Model. Empty: a network of our own is trained.
        preprocess: What it was trained to see: a row of PREPROCESSING
            (attnrobust/models/adopted/preprocessing.py), or mean and standard deviation in [0, 1]
            pixels, one or three each, as in `0.5/0.25` or `0.485,0.456,0.406/0.229,0.224,0.225`.
            Empty: not given.
        bgr: It takes blue, green, red.
        ends: `logits`, `softmax` or `sigmoid` (one unit, the probability of the second class).
            Empty: as its last layer shows.
        output: Name of the output, where there are several.
        classes: Names in the order of its outputs; empty: as the data set has them.
        custom: `module:Name` of each layer of its author's own.
        allow_code: Code stored inside the file (Lambda layers) may run.
        allow_random: It may answer differently when it is asked again, or in other company.
    """

    file: str = ""
    preprocess: str = ""
    bgr: bool = False
    ends: str = ""
    output: str = ""
    classes: tuple[str, ...] = ()
    custom: tuple[str, ...] = ()
    allow_code: bool = False
    allow_random: bool = False

    def __post_init__(self) -> None:
        known = self.ends in ("", *ENDS)
        require(known, "adopted.ends", self.ends, f"{', '.join(ENDS)}, or nothing")
        for each in self.custom:
            module, _, name = each.partition(":")
            require(bool(module and name), "adopted.custom", each, "module:Name")
        twice = len(set(self.classes)) < len(self.classes)
        require(not twice, "adopted.classes", self.classes, "every name once")
