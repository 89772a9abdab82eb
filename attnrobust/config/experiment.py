"""An experiment and its sections, but for `training`."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnrobust.config.adopted import Adopted
from attnrobust.config.attack import Attack
from attnrobust.config.checking import require
from attnrobust.config.explanation import Explanation
from attnrobust.config.training import Training


@dataclass(frozen=True)
class Data:
    """Which records, at which size.

    Attributes:
        dataset: Name of the data set, and of its folder below the records root
            (`tfrecords/shards/<dataset>`).
        records: Another folder there, such as one with corrupted copies (the data set's own where
            empty).
        image_size: Height and width in pixels of what the model sees.
        limit: At most this many examples of every split (None: all), for smoke runs.
        task: Which of the tasks that the records describe (their own classes where empty).
        folds: Parts that the train split is cut into, no group torn apart (0: not at all); the
            stored validation split is not used then (attnrobust/data/folds.py).
        fold: The part that validation takes, from 0; training takes the others.
    """

    dataset: str
    image_size: int = 224
    limit: int | None = None
    task: str = ""
    folds: int = 0
    fold: int = 0
    records: str = ""

    @property
    def folder(self) -> str:
        """Name of the folder of records below the records root."""
        return self.records or self.dataset

    def __post_init__(self) -> None:
        safe = all(c.isalnum() or c in "_-." for c in self.records) and self.records[:1] != "."
        require(safe, "data.records", self.records, "the name of a folder of records, or nothing")
        require(self.image_size >= 8, "data.image_size", self.image_size, "at least 8")
        require(self.limit is None or self.limit >= 1, "data.limit", self.limit, "at least 1")
        require(self.folds == 0 or self.folds >= 2, "data.folds", self.folds, "0 or at least 2")
        most = max(self.folds, 1) - 1
        require(
            0 <= self.fold <= most,
            "data.fold",
            self.fold,
            f"0 to {most}, data.folds being {self.folds}",
        )


@dataclass(frozen=True)
class Model:
    """Backbone, cut, head and starting weights.

    Attributes:
        backbone: Row of BACKBONES (attnrobust/models/backbones/), or of SEGMENTERS
            (attnrobust/models/segmenters/) for class maps.
        head: Row of HEADS (attnrobust/models/heads.py); empty for a segmenter.
        weights: `imagenet`, `none`, or a path to a Keras weights file (.h5).
        width: Width multiplier (MobileNet's alpha, filters of `resnet18` and of segmenters); 1
            elsewhere.
        cut: Where the head is put on, by name: `full` or `literal` (see BACKBONES).
        variant: Reading of the soft-attention layer: `paper` or `literal` (see heads.py).
        maps: Number K of attention maps.
        gamma: Start of the learnable scale of the attended map (`paper` variant only).
        dropout: Dropout rate before the last layer, for heads that have one.
    """

    backbone: str = "resnet50"
    head: str = "gap"
    weights: str = "imagenet"
    width: float = 1.0
    cut: str = "full"
    variant: str = "paper"
    maps: int = 16
    gamma: float = 0.01
    dropout: float = 0.5

    def __post_init__(self) -> None:
        require(self.width > 0, "model.width", self.width, "above 0")
        require(self.maps >= 1, "model.maps", self.maps, "at least 1")
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")
        require(
            self.variant in ("paper", "literal"), "model.variant", self.variant, "paper or literal"
        )
        require(self.cut in ("full", "literal"), "model.cut", self.cut, "full or literal")


@dataclass(frozen=True)
class Corruptions:
    """What the test images are put through, beside the clean condition.

    Attributes:
        names: Rows of CORRUPTIONS (attnrobust/corruptions); none by default.
        severities: Of 1 to 5.
    """

    names: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)

    def __post_init__(self) -> None:
        known = bool(self.severities) and set(self.severities) <= {1, 2, 3, 4, 5}
        require(known, "corruptions.severities", self.severities, "of 1 to 5")


@dataclass(frozen=True)
class Checks:
    """How hard the sanity checks of an attack look (attnrobust/attacks/sanity.py).

    Attributes:
        samples: At most so many test images are attacked again.
        draws: Of random noise an image.
        queries: Of the black-box attack an image.
    """

    samples: int = 100
    draws: int = 10
    queries: int = 2000

    def __post_init__(self) -> None:
        for name in ("samples", "draws", "queries"):
            value = getattr(self, name)
            require(value >= 1, f"checks.{name}", value, "at least 1")


@dataclass(frozen=True)
class Experiment:
    """One row of a study: data, a model that is trained or adopted, what is done to it, seed."""

    name: str
    data: Data
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    adopted: Adopted = field(default_factory=Adopted)
    corruptions: Corruptions = field(default_factory=Corruptions)
    attack: Attack = field(default_factory=Attack)
    checks: Checks = field(default_factory=Checks)
    explanation: Explanation = field(default_factory=Explanation)
    seed: int = 0

    def __post_init__(self) -> None:
        for key, value in (("name", self.name), ("data.dataset", self.data.dataset)):
            safe = value and all(c.isalnum() or c in "_-." for c in value) and value[0] != "."
            require(bool(safe), key, value, "letters, digits, _ - . (it names a folder)")
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2147483647")
