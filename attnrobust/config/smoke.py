"""The same walk with tiny numbers, under a name of its own."""

from __future__ import annotations

from attnrobust import config

# What the name of a smoke run ends with.
SMOKED = "-smoke"
SMOKE = (
    "data.limit=16",
    "model.weights=none",
    "training.epochs=1",
    "training.batch_size=8",
    "training.epoch_fraction=1",
    "training.sampling=none",
    "training.start=",
    "attack.steps=2",
    "attack.rel_stepsize=0.5",
    "attack.batch_size=8",
    "attack.samples=4",
    "attack.queries=50",
    "attack.restarts=1",
    "checks.samples=4",
    "checks.draws=2",
    "checks.queries=10",
)


def smoke(experiment: config.Experiment) -> config.Experiment:
    """The same experiment with tiny numbers, under a name of its own."""
    size = 96 if experiment.model.backbone.startswith("inception") else 64
    first, *_, last = (*experiment.attack.epsilons, experiment.attack.epsilons[-1])
    grid = f"{first!r},{last!r}" if first != last else f"{first!r}"
    return config.with_settings(
        experiment,
        [
            *SMOKE,
            f"data.image_size={size}",
            f"attack.epsilons={grid}",
            f"name={experiment.name}{SMOKED}",
        ],
    )
