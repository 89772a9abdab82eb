"""What must be in each kind of JSON file; keys that a kind does not name may be there, too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
# No half of a sign, which JSON can hold and nothing can draw.
Word = Annotated[str, Meta(pattern=r"^[^\ud800-\udfff]+\Z")]
Names = Annotated[list[Word], Meta(min_length=1)]
# Where another run stands below the folder of the data set's runs: never further up.
Below = Annotated[str, Meta(pattern=r"^(?!.*(^|/)\.\.(/|$))[^/]")]
SHARD = r"(train|validation|test)-\d{5}-of-\d{5}\.tfrecord"


class Surrogate(Struct):
    """Another run whose adversarials an attack's check takes."""

    run: Below
    weights: str = ""


class Used(Struct):
    """What a stage was made with."""

    data: dict[str, Any] = {}
    model: dict[str, Any] = {}
    adopted: dict[str, Any] = {}
    training: dict[str, Any] = {}
    corruptions: dict[str, Any] = {}
    attack: dict[str, Any] = {}
    checks: dict[str, Any] = {}
    explanation: dict[str, Any] = {}


class Stamp(Struct):
    """`stage.json`."""

    used: Used
    inputs: str
    finished: bool
    seconds: Annotated[float, Meta(ge=0, le=1e12)] = 0
    version: Count = 1
    began: Annotated[float, Meta(ge=0, le=1e12)] = 0
    started: str = ""
    again: list[str] = []
    files: list[str] = []
    beside: list[str] = []
    norm: str = ""
    command: str = ""
    weights: str | None = None
    stack: dict[str, str] = {}
    surrogate: Surrogate | None = None


class Part(Struct):
    """Of a split, its examples."""

    count: Count
    class_counts: dict[str, Count]


class Corrupted(Struct):
    """How records were corrupted."""

    corruptions: list[str] = []
    levels: list[int] = []
    splits: list[str] = []
    oversampled: bool = False


class Learned(Struct):
    """The records that a run learned from."""

    classes: Names
    splits: dict[str, Part] = {}
    corrupted: Corrupted = msgspec.field(default_factory=Corrupted)


class Adopted(Struct):
    """`adopt/adopted.json`: a model that was given, as it was then."""

    file: str
    digest: Annotated[str, Meta(min_length=1)]
    said: list[str] = []


class Provenance(Struct):
    """`provenance.json`; those of long ago hold less."""

    dataset: Learned | None = None
    parameters: Count | None = None
    attention_parameters: Count | None = None
    input_scale: Positive | None = None
    devices: list[str] = []
    packages: dict[str, str] = {}
    keras: str | None = None


class Check(Struct):
    """One sanity check of an attack."""

    name: str
    title: str
    status: Literal["warn", "note", "pass"]
    said: str
    meaning: str


class Checks(Struct):
    """`checks.json`."""

    epsilon: Annotated[float, Meta(ge=0, le=1e9)]
    images: Count
    checks: list[Check]


class Randomised(Struct):
    """`randomisation.json`."""

    images: Count
    checks: list[Check]


class Shard(Struct):
    """One file of records."""

    file: Annotated[str, Meta(pattern=rf"^{SHARD}\Z")]
    count: Count
    bytes: Count
    sha256: str


class Split(Part):
    """A split of records."""

    shards: list[Shard]


class Splits(Struct):
    """The splits of records."""

    train: Split
    validation: Split
    test: Split


class Task(Struct):
    """What else labels may stand for."""

    classes: Names
    of: list[Count]


class Volume(Struct):
    """What is known of a scan in mm."""

    side: Positive


class Records(Struct):
    """`dataset.json`; of segmented images, a class counts those that show it."""

    name: Word
    classes: Names
    size: Count
    splits: Splits
    hash: Word
    tasks: dict[str, Task] = {}
    corrupted: Corrupted = msgspec.field(default_factory=Corrupted)
    filter: str = "none"
    task: Literal["classification", "segmentation"] = "classification"
    volumes: dict[str, Volume] = {}


class Reject(Struct):
    """A row of which no record was made."""

    line: int
    id: str
    reason: str


class Written(Shard):
    """`parts/<shard>.json` of records that are being written."""

    class_counts: dict[str, Count]
    rejects: list[Reject]
    converted: dict[str, Count]
    fingerprints: dict[str, str]
    rows: str
    pixels: dict[str, str]
    facts: dict[str, dict[str, float | str]]
    clipped: Annotated[float, Meta(ge=0)]


class Epoch(Struct):
    """A row of `history.jsonl`; all else in it are numbers, too."""

    epoch: Annotated[int, Meta(ge=1, le=2**53)]


class Progress(Struct):
    """What a training that was cut off goes on from, beside its arrays."""

    history: list[dict[str, float]]
    best: float
    wait: Count
