"""DAG beside adversarial-library's, in float64 on shared weights: both must make the same images.

    .venv-bench/bin/pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
    .venv-bench/bin/pip install --no-deps -r benchmarks/requirements-dag-peer.txt
    .venv-bench/bin/python -m benchmarks.dag_peer

Theirs goes for any other class and counts a pixel as active until it is wrong; with two classes
that is toward background, as in `dag_background`. It knows the box only where it asks the model,
ours keeps iterates inside: so no image here comes near its ends. An image that does not fall is
given back by theirs as it was; it is left out.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import torch
from adv_lib.attacks.segmentation import dag as theirs
from tensorflow import keras
from torch import nn

from attnrobust import config
from attnrobust.attacks import methods
from attnrobust.attacks.segmentation import dag
from attnrobust.models.replicas import Replicas

SIZE, BATCH, FILTERS, STEPS, GAMMA = 24, 8, (8, 8), 100, 0.5 / 255


def ours() -> keras.Model:
    """Two convolutions and two logits for each pixel, float64."""
    keras.utils.set_random_seed(0)
    keras.backend.set_floatx("float64")
    image = x = keras.layers.Input((SIZE, SIZE, 3))
    for number in FILTERS:
        x = keras.layers.Conv2D(number, 3, padding="same", activation="softplus")(x)
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(x))
    # About every second pixel is a structure.
    model.layers[-1].bias.assign(-np.median(model(images()).numpy(), axis=(0, 1, 2)))
    return model


def copied(model: keras.Model) -> nn.Module:
    """The same network, weights copied."""
    parts: list[nn.Module] = []
    for layer in model.layers[1:]:
        kernel, bias = (torch.from_numpy(each) for each in layer.get_weights())
        made = nn.Conv2d(*kernel.shape[2:], tuple(kernel.shape[:2]), padding="same").double()
        made.load_state_dict({"weight": kernel.permute(3, 2, 0, 1), "bias": bias})
        parts += [made, nn.Softplus()]
    return nn.Sequential(*parts[:-1])


def images() -> np.ndarray:
    """Smooth random images between 0.3 and 0.7, float64."""
    few = np.random.default_rng(0).uniform(0.3, 0.7, (BATCH, 6, 6, 3))
    return np.clip(tf.image.resize(few, (SIZE, SIZE)).numpy(), 0.3, 0.7).astype(float)


def main() -> None:
    """Print how far apart the two end, and how many steps images took."""
    model, x0 = ours(), images()
    replicas, peer = Replicas(model), copied(model)
    logits = replicas.forward(x0).numpy()
    # Structures are pixels near the border, so that images fall while they are inside the box.
    ahead = logits[..., 1] - logits[..., 0]
    near = np.quantile(np.where(ahead > 0, ahead, np.inf), 0.05, axis=(1, 2), keepdims=True)
    labels = ((ahead > 0) & (ahead <= near)).astype(np.int64)
    first = torch.from_numpy(x0).permute(0, 3, 1, 2)
    with torch.no_grad():
        apart = np.abs(peer(first).permute(0, 2, 3, 1).numpy() - logits).max()
    print(f"logits apart by {apart:.2g}; {labels.mean():.2f} of the pixels are a structure")
    setting = methods.settled(
        config.Attack("dag_background", epsilons=(1.0,), steps=STEPS, abs_stepsize=GAMMA)
    )
    ids = [str(place) for place in range(BATCH)]
    attack = dag.dag_background(replicas, setting, 0)
    made, passes = attack(tf.constant(x0), tf.constant(labels), ids, 1.0, 0)
    wanted = torch.from_numpy(labels)
    found = theirs(
        peer,
        first,
        wanted,
        masks=wanted == 1,
        adv_threshold=1.0,
        max_iter=STEPS + 1,
        γ=GAMMA,
    )
    other = found.detach().permute(0, 2, 3, 1).numpy()
    fell = (other != x0).any(axis=(1, 2, 3))
    if not fell.any():
        raise SystemExit("no image fell; nothing can be compared")
    steps = passes[fell] - 2  # the judge's pass, and the one that finds no pixel active
    print(
        f"{fell.sum()} of {BATCH} images fell, in {steps.min()} to {steps.max()} steps; pixels "
        f"moved by up to {np.abs(made - x0)[fell].max():.3f}, apart by at most "
        f"{np.abs(made - other)[fell].max():.2g}"
    )


if __name__ == "__main__":
    main()
