"""Foolbox on PyTorch, in a process of its own: `attack_sweep.py` has it take turns with ours.

    python -m benchmarks.torch_peer --images 32 --size 224 --batch 16 --steps 10 \
        --rel-stepsize 0.2 --epsilon 0.0005 --classes 7

Says `ready`, then for every line on its input attacks all images once and says the seconds. The
network is ResNet-50 as Keras lays it out (strides in the first 1x1 convolution of a stage), weights
random: what is measured is time, not success. Channels last, which PyTorch names as the faster
layout of convolutions on CPUs.
"""

from __future__ import annotations

import argparse
import sys
import time

import foolbox
import torch
from torch import nn

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut (He et al. 2015)."""

    def __init__(self, inside: int, filters: int, stride: int, *, project: bool) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inside, filters, 1, stride),
            nn.BatchNorm2d(filters),
            nn.ReLU(inplace=True),
            nn.Conv2d(filters, filters, 3, padding=1),
            nn.BatchNorm2d(filters),
            nn.ReLU(inplace=True),
            nn.Conv2d(filters, 4 * filters, 1),
            nn.BatchNorm2d(4 * filters),
        )
        self.shortcut: nn.Module = nn.Identity()
        if project:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, 4 * filters, 1, stride), nn.BatchNorm2d(4 * filters)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, 4 * filters, H / stride, W / stride)."""
        return torch.relu(self.path(x) + self.shortcut(x))


def resnet50(classes: int) -> nn.Module:
    """ResNet-50 in inference mode."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, padding=3),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1),
    ]
    inside = 64
    for filters, blocks, stride in STAGES:
        for block in range(blocks):
            first = block == 0
            layers.append(Bottleneck(inside, filters, stride if first else 1, project=first))
            inside = 4 * filters
    top = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes)]
    return nn.Sequential(*layers, *top).eval().to(memory_format=torch.channels_last)


def main() -> None:
    """Attack once for every line that comes in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("images", "size", "batch", "steps", "classes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("epsilon", "rel-stepsize"):
        parser.add_argument(f"--{name}", type=float, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = resnet50(options.classes)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    images = torch.rand(options.images, 3, options.size, options.size)
    images = images.to(memory_format=torch.channels_last)
    with torch.no_grad():
        labels = torch.cat([network(part).argmax(1) for part in images.split(options.batch)])
    attack = foolbox.attacks.LinfPGD(steps=options.steps, rel_stepsize=options.rel_stepsize)
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        for part, known in zip(
            images.split(options.batch), labels.split(options.batch), strict=True
        ):
            attack(model, part, known, epsilons=options.epsilon)
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()
