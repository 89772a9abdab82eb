"""What a file of `experiments/papers/` may hold: a Struct for each part, its attributes the keys.

Such a file says what a paper published and which settings a run must have to stand beside it; no
paper is named in code.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Plain = str | bool | int | float | list[str | int | float]


class Part(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The base of all: a key that is not known is an error."""


class Condition(Part, frozen=True):
    """What a value must be where one value is not all that may be said; of these one or several.

    Attributes:
        one_of: Any of these.
        starts: A word that begins with any of these.
        has: A list with this in it.
        same: A list of just these, in any order.
        empty: Whether it is nothing: no word, an empty list, not there.
        negated: Called `not` in the file: what it must not be.
    """

    one_of: list[str | int | float] | None = None
    starts: list[str] | None = None
    has: str | int | None = None
    same: list[str | int] | None = None
    empty: bool | None = None
    negated: str | bool | int | float | Condition | None = msgspec.field(default=None, name="not")


# By dotted name; where there are several, one of them must hold.
Conditions = dict[str, Plain | Condition]
Where = Conditions | list[Conditions]


class Words(Part, frozen=True):
    """Words of a row's name, `{model.backbone}` being the run's, where its conditions hold."""

    text: str
    where: Where = {}


class Rows(Part, frozen=True):
    """In which row a run stands: the words of its parts, `otherwise` where there are none."""

    parts: list[Words]
    where: Where = {}
    join: str = ""
    otherwise: str = ""


class Column(Part, frozen=True):
    """A column.

    Attributes:
        title: Its head.
        condition: `clean`, `attack` (mean accuracy over the paper's epsilons), `corruption` (mean
            over several severities, which only accuracy has), `setting` or `training time`.
        name: The corruption's or the setting's.
        metric: As in `measurements.csv`.
        severities: Of the corruption.
        digits: After the point, of the paper's numbers.
        csv: Its head in the file; the title if empty.
    """

    title: str
    condition: Literal["clean", "attack", "corruption", "setting", "training time"] = "clean"
    name: str = ""
    metric: str = "accuracy"
    severities: list[int] = []
    digits: int = 3
    csv: str = ""


class Shown(Part, frozen=True):
    """What a table and a figure share: where a run stands, and which rows must be ours."""

    name: Annotated[str, Meta(pattern=r"^[\w-]+\Z")]
    caption: str
    rows: str
    where: Where = {}
    needs: list[str] = []


class Published(Shown, kw_only=True, frozen=True):
    """A table of the paper.

    Attributes:
        head: Head of the first column, in the file `csv`.
        values: By row, what the paper has in each column.
        more: Whether rows of ours that the paper does not have follow.
        note: Below it.
    """

    head: str
    csv: str
    columns: list[Column]
    values: dict[str, list[str | int | float]]
    more: bool = False
    note: str = ""


class Drawn(Shown, kw_only=True, frozen=True):
    """A figure of a metric against 255 ε, of the rows `shown`; its caption knows {images}."""

    alt: str
    metric: str
    label: str
    shown: list[str]


class Chapter(Part, frozen=True):
    """A section of the page.

    Attributes:
        runs: Which runs it is about.
        by_attack: Whether a run has a row for each of its attacks at the paper's epsilons.
        left_out: Said before the names of those that stand in no row; empty: nothing is.
        always: Whether it is there if all are left out.
    """

    anchor: str
    title: str
    runs: Where
    words: list[str]
    tables: list[Published]
    figures: list[Drawn] = []
    by_attack: bool = False
    left_out: str = ""
    always: bool = False


class Strength(Part, frozen=True):
    """The paper's attack: what a setting must be to be it, and the epsilons, such as "8/255"."""

    where: Conditions
    norm: Literal["linf", "l2", "l0"] = "linf"
    epsilons: list[Annotated[str, Meta(pattern=r"^\d+(\.\d+)?(/\d+)?\Z")]] = []


class Said(Part, frozen=True):
    """One thing that a paper says, in words, of one of its models, at an epsilon or 0."""

    model: str
    epsilon: Annotated[float, Meta(ge=0)]
    words: str
    source: str
    metric: Literal["accuracy", "correlation"] = "accuracy"


class Model(Part, frozen=True):
    """Models that a paper speaks of, and which of ours these are."""

    name: str
    brief: str
    where: Where = {}


class About(Part, frozen=True):
    """What it says of a data set (with its task, as the page calls it) and a backbone."""

    dataset: str
    backbone: str
    said: list[Said]


class Readings(Part, frozen=True):
    """Whose statements stand beside readings of epsilon on networks that the paper has not."""

    backbone: str
    called: str


class Statements(Part, frozen=True):
    """What a paper says without a table, under the head that its column has."""

    head: str
    note: str
    models: list[Model]
    of: list[About]
    readings: Readings | None = None


class Parameters(Part, frozen=True):
    """Learnable numbers of networks with so many classes, by our name of the backbone."""

    source: str
    classes: int
    backbones: dict[str, int]


class Judged(Part, frozen=True):
    """A model and what it keeps, as shares of 1: `accuracy` by attack, of each model's in order.

    Of models that segment, Dice.
    """

    name: str
    backbone: str
    clean: float
    noise: float
    average: float
    drop: float
    accuracy: dict[str, list[float]]


class Transfer(Part, frozen=True):
    """Adversarials of each model judged by all, for `attnrobust transfer --paper`.

    Attributes:
        attacks: Settings of each attack, by what the paper calls it; of the first, embeddings are
            drawn.
        models: In the order of the tables' columns.
        note: Below the tables.
        noise: Of the images that are as visible as adversarials: `gaussian` or `rician`.
    """

    attacks: dict[str, list[str]]
    models: list[Judged]
    note: str = ""
    noise: Literal["gaussian", "rician"] = "gaussian"


class Paper(Part, frozen=True):
    """A file; `commands` make the runs, `claims` are sentences by what they are about."""

    short: str
    authors: str
    title: str
    commands: list[str]
    published: str = ""
    claims: dict[str, str] = {}
    parameters: Parameters | None = None
    attack: Strength | None = None
    rows: dict[str, Rows] = {}
    sections: list[Chapter] = []
    statements: Statements | None = None
    transfer: Transfer | None = None
    segmentation: Transfer | None = None
