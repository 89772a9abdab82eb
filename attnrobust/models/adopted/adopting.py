"""A model trained elsewhere -> one of the project's: [0, 1] pixels to logits of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.models.adopted import asking, assembly, files, flat, seen, trust
from attnrobust.models.adopted import classes as class_names
from attnrobust.models.adopted.assembly import Made


@dataclass(frozen=True)
class Told:
    """What was found out on the way.

    Attributes:
        ends: `logits`, `softmax` or `sigmoid`: what the file's model gives.
        stripped: Logits were found before the last function, or are given; otherwise it is undone
            by a log (`saturation` says for how many images that leaves no derivative).
        preprocess: What the model is fed: row of PREPROCESSING or numbers.
        image_size: Height and width that the file demands; None where any will do.
        channels: That it takes.
        order: Its output for each class of the data.
        gradients: TensorFlow gives derivatives; without, only black-box attacks work.
        steady: It gives the same answer when it is asked again.
        features: The layer of the file whose map is called `features`; empty: there is none.
        notes: Lines for people.
    """

    ends: str
    stripped: bool
    preprocess: str
    image_size: int | None
    channels: int
    order: tuple[int, ...]
    gradients: bool
    steady: bool
    features: str
    notes: tuple[str, ...]


def load(
    adopted: config.Adopted,
    *,
    classes: Sequence[str],
    image_size: int | None = None,
    again: str = "",
) -> keras.Model:
    """The file's model with its preprocessing in front, giving logits in the order of `classes`.

    Call it inside a strategy's scope to have it on several devices. `told` says what was found out.

    Args:
        adopted: The file, and what it takes and gives.
        classes: Of the data set, in its order.
        image_size: Height and width of the images, in pixels; None: as the file has it.
        again: What to do where the file cannot be read, for the message.

    Returns:
        float32 RGB images in [0, 1], (B, H, W, 3), to float32 logits (B, K). It has a layer
        `preprocessing`, one called `logits` and, where a feature map is seen, `features`.

    Raises:
        UserError: The file cannot be read or used as asked; it says what to change.
    """
    found = asking.found(adopted, image_size=image_size, again=again)
    if found.unsteady and not adopted.allow_random:
        raise UserError(
            f"{adopted.file}: {found.unsteady}; its derivatives would be those of another answer: "
            "save it for inference, or accept that by --set adopted.allow_random=true"
        )
    units = found.answers.shape[1]
    order = class_names.order(adopted.classes, classes, outputs=max(units, 2), file=adopted.file)
    size = found.taken.size or image_size
    kept = ""
    if flat.is_graph(found.model):
        made = assembly.flattened(found, order, size)
        if not found.unsteady and not assembly.is_faithful(made, found, order):
            kept = "its layers, called one by one, answer differently: it is kept as one layer"
            found = asking.found(adopted, image_size=image_size, again=again)
            made = assembly.whole(found, adopted, order, size)
    else:
        made = assembly.whole(found, adopted, order, size)
    gradients = trust.gives_gradients(made.model, asking.noise(size))
    made.model.told = Told(
        ends=found.kind,
        stripped=made.stripped,
        preprocess=found.preprocess,
        image_size=found.taken.size,
        channels=found.taken.channels,
        order=tuple(order),
        gradients=gradients,
        steady=not found.unsteady,
        features=made.features,
        notes=tuple(_notes(found, made, kept, gradients)),
    )
    return made.model


def told(model: keras.Model) -> Told:
    """What `load` found out about the model."""
    found: Told = model.told
    return found


def image_size(adopted: config.Adopted) -> int | None:
    """Height and width of the images that the file demands; None where any will do.

    Raises:
        UserError: As `load` for a file that cannot be read, or does not take images.
    """
    return seen.taken(files.opened(adopted), adopted.file).size


def proven(adopted: config.Adopted) -> bool:
    """Whether the model itself shows what pixels it takes.

    Raises:
        UserError: As `load` for a file that cannot be read.
    """
    return bool(seen.own_preprocessing(files.opened(adopted))[0])


def _notes(found: asking.Found, made: Made, kept: str, gradients: bool) -> list[str]:
    said = [*found.notes, *made.notes, kept, found.unsteady and f"warning: {found.unsteady}"]
    if not gradients:
        said.append("warning: TensorFlow gives no derivatives of it: only black-box attacks work")
    if not made.stripped:
        said.append(
            f"its {found.kind} is not seen as a layer and is undone by a log, which has no "
            "derivative where a probability has rounded to 1"
        )
    if found.kind == "sigmoid" and found.answers.shape[1] > 1:
        said.append(
            "its sigmoid units are judged by the largest; probabilities are a softmax over their "
            "logits, not its own"
        )
    if not made.features:
        said.append("no convolution is seen in it: no explanation that looks at a feature map")
    return [line for line in said if line]
