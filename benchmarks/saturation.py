"""How much accuracy attacks leave when a network becomes surer, and nothing else about it changes.

One small network, trained for seconds on scikit-learn's handwritten digits (real images, 8 x 8);
its logits times 1, 10, 20 and 40. Every decision stays what it was, so what is left may not rise;
but in float32 the gradient of the cross-entropy rounds to 0. Ours beside stock Foolbox and the
Adversarial Robustness Toolbox, at the same steps and step sizes; random starts are each tool's own.

    pip install -r requirements-bench.txt
    python -m benchmarks.saturation [--images 200] [--steps 40]

The Toolbox's rows are left out, aloud, where it cannot be imported. `*` marks a cell in which a
peer leaves less than ours of the same kind.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable

import foolbox
import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks.methods import ATTACKS
from attnrobust.models.replicas import Replicas
from benchmarks.autoattack import digits, theirs, trained

tf.get_logger().setLevel("ERROR")
logging.getLogger("art").setLevel(logging.ERROR)
SCALES = (1, 10, 20, 40)
EPSILONS = {"linf": 0.08, "l2": 0.5}
# Of a step, in epsilons.
STEP = 1 / 10
# An attack: model, images and labels to adversarials.
Attack = Callable[[keras.Model, np.ndarray, np.ndarray], np.ndarray]


def ours(name: str, steps: int) -> Attack:
    """A row of ATTACKS; those of AutoAttack at their published settings."""
    published = {"steps": 100} if name.startswith(("apgd", "auto")) else {"steps": steps}
    setting = config.Attack(name=name, rel_stepsize=STEP, queries=5000, **published)
    epsilon = EPSILONS[ATTACKS[name].norm]

    def run(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        attack = ATTACKS[name].make(Replicas(model), setting, 0)
        ids = [str(row) for row in range(len(images))]
        return np.asarray(attack(tf.constant(images), tf.constant(labels), ids, epsilon, 0)[0])

    return run


def stock(norm: str, steps: int) -> Attack:
    """Foolbox's PGD as it is."""
    made = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    attack = made(steps=steps, rel_stepsize=STEP)

    def run(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        tf.random.set_seed(0)
        wrapped = foolbox.TensorFlowModel(model, bounds=(0, 1), device="/CPU:0")
        found = attack.run(
            wrapped, tf.constant(images), tf.constant(labels), epsilon=EPSILONS[norm]
        )
        return np.asarray(found)

    return run


def toolbox(norm: str, steps: int) -> Attack:
    """The Toolbox's PGD as it is."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import TensorFlowV2Classifier

    def run(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        np.random.seed(0)  # noqa: NPY002  (it draws from the global one)
        classifier = TensorFlowV2Classifier(
            model,
            nb_classes=10,
            input_shape=images.shape[1:],
            clip_values=(0, 1),
            loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        attack = ProjectedGradientDescent(
            classifier,
            norm={"linf": np.inf, "l2": 2}[norm],
            eps=EPSILONS[norm],
            eps_step=STEP * EPSILONS[norm],
            max_iter=steps,
            num_random_init=1,
            batch_size=len(images),
            verbose=False,
        )
        return np.asarray(attack.generate(images, labels))

    return run


def rows(steps: int) -> dict[str, tuple[str, Attack, list[str]]]:
    """Name to norm, attack, and the rows of peers to which it compares."""
    peers = {
        "Foolbox PGD, L-inf": ("linf", stock("linf", steps), []),
        "Foolbox PGD, L2": ("l2", stock("l2", steps), []),
    }
    try:
        import art
    except ImportError as error:
        print(f"The Toolbox's rows are left out: {error}\n")
    else:
        print(f"Adversarial Robustness Toolbox {art.__version__}\n")
        peers |= {
            "ART PGD, L-inf": ("linf", toolbox("linf", steps), []),
            "ART PGD, L2": ("l2", toolbox("l2", steps), []),
            "ART AutoAttack": (
                "linf",
                lambda *given: theirs(*given, EPSILONS["linf"], classes=10, restarts=1),
                [],
            ),
        }
    pgd = {
        norm: [name for name in peers if name.endswith(f"PGD, {norm}")] for norm in ("L-inf", "L2")
    }
    beside = {
        "linf_pgd": pgd["L-inf"],
        "l2_pgd": pgd["L2"],
        "fgsm": [],
        "bim": pgd["L-inf"],
        "mi_fgsm": [],
        "apgd_ce": pgd["L-inf"],
        "apgd_t": pgd["L-inf"],
        "autoattack": [*pgd["L-inf"], *(name for name in peers if "Auto" in name)],
    }
    return {
        **{name: (ATTACKS[name].norm, ours(name, steps), known) for name, known in beside.items()},
        **peers,
    }


def left(
    attack: Attack, norm: str, models: list[keras.Model], images: np.ndarray, labels: np.ndarray
) -> list[float]:
    """Accuracy under the attack on each model; what is wrong to begin with counts as such."""
    found = []
    for model in models:
        made = attack(model, images, labels)
        change = (made - images).reshape(len(images), -1)
        size = np.linalg.norm(change, ord={"linf": np.inf, "l2": 2}[norm], axis=1)
        assert size.max() <= EPSILONS[norm] + 1e-5
        right = model(images).numpy().argmax(axis=1) == labels
        found.append(float((right & (model(made).numpy().argmax(axis=1) == labels)).mean()))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    images, labels, test, truth = digits(10)
    network = trained(images, labels, 10)
    images, labels = test[: options.images], truth[: options.images]
    inputs = keras.layers.Input(network.input_shape[1:])
    models = [keras.Model(inputs, float(scale) * network(inputs)) for scale in SCALES]
    logits = np.sort(network(images).numpy(), axis=1)
    gap = logits[:, -1] - logits[:, -2]
    right = (network(images).numpy().argmax(axis=1) == labels).mean()
    print(
        f"{len(images)} images, {right:.3f} right; gap to the second logit: median "
        f"{np.median(gap):.1f}, largest {gap.max():.1f}; epsilon {EPSILONS}"
    )
    table, asked = {}, rows(options.steps)
    for name, (norm, attack, _) in asked.items():
        start = time.perf_counter()
        table[name] = left(attack, norm, models, images, labels)
        print(f"  {name}: {table[name]} ({time.perf_counter() - start:.0f} s)", flush=True)
    print("\n| accuracy left, logits times | " + " | ".join(map(str, SCALES)) + " |")
    print("| --- " * (len(SCALES) + 1) + "|")
    for name, (_, _, peers) in asked.items():
        cells = [
            f"{mine:.3f}" + "*" * any(table[peer][column] < mine for peer in peers)
            for column, mine in enumerate(table[name])
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
