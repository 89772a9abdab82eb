"""What is explained of a model, and how."""

from __future__ import annotations

from dataclasses import dataclass

from attnrobust.config.checking import require


@dataclass(frozen=True)
class Explanation:
    """Which heatmaps are made, for the sample images of the attack stage.

    Attributes:
        methods: Rows of EXPLANATIONS (attnrobust/explanations/methods.py).
        layer: Layer whose feature map is explained, for methods that look at one; `features` is
            the map the head receives.
        target: Class that is explained: the model's own `prediction` on each image, the `label`,
            or one class for all images, by its name or its number.
        smooth_samples: Noisy copies of an image (`smooth_grad`).
        smooth_noise: Standard deviation of their noise, as a share of the image's range (largest
            less smallest value).
        baseline: Row of BASELINES (attnrobust/explanations/baselines.py), where the path of
            `integrated_gradients` begins.
        baseline_draws: Random baselines an image that are averaged over; others are one.
        integration_steps: Gradients on each path, at the middle of as many equal parts.
        completeness: Share of the difference of logits that `integrated_gradients` may miss: parts
            of a path are halved, up to six times, where they miss more than a sixteenth of it;
            None: none is, and each path has its `integration_steps`, as in the papers.
        occlusion_patch: Side of the square that is covered, in pixels of an image of 224 px; it
            and the stride are scaled with the image's size, and rounded.
        occlusion_stride: From one square to the next, likewise.
        occlusion_fill: Grey value in [0, 1] that covers.
        occlusion_drop: Of what the drop is taken: `probability` or `logit`.
        score_maps: At most so many maps of the layer are tried on an image, those that vary most
            (`score_cam`, one forward pass each); None: all.
        precision: Of convolutions while the model is explained: `float32`, or `bfloat16`, which is
            faster where the processor has it; refused where maps change by it.
    """

    methods: tuple[str, ...] = ("grad_cam",)
    layer: str = "features"
    target: str = "prediction"
    smooth_samples: int = 25
    smooth_noise: float = 0.15
    baseline: str = "uniform_noise"
    baseline_draws: int = 4
    integration_steps: int = 50
    completeness: float | None = None
    occlusion_patch: int = 50
    occlusion_stride: int = 25
    occlusion_fill: float = 0.5
    occlusion_drop: str = "probability"
    score_maps: int | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        require(
            bool(self.target), "explanation.target", self.target, "prediction, label or a class"
        )
        counts = ("smooth_samples", "baseline_draws", "integration_steps", "occlusion_stride")
        for name in (*counts, "score_maps"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"explanation.{name}", value, "at least 1")
        require(
            self.occlusion_patch >= self.occlusion_stride,
            "explanation.occlusion_patch",
            self.occlusion_patch,
            f"at least the stride, {self.occlusion_stride}, so that no pixel is left out",
        )
        require(self.smooth_noise > 0, "explanation.smooth_noise", self.smooth_noise, "above 0")
        require(
            self.completeness is None or 0 < self.completeness < 1,
            "explanation.completeness",
            self.completeness,
            "above 0 and below 1, or none",
        )
        require(
            0 <= self.occlusion_fill <= 1,
            "explanation.occlusion_fill",
            self.occlusion_fill,
            "in [0, 1]",
        )
        require(
            self.occlusion_drop in ("probability", "logit"),
            "explanation.occlusion_drop",
            self.occlusion_drop,
            "probability or logit",
        )
        require(
            self.precision in ("float32", "bfloat16"),
            "explanation.precision",
            self.precision,
            "float32 or bfloat16",
        )
