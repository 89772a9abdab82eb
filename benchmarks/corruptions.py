"""Images a second of every corruption on one core: `python -m benchmarks.corruptions`.

Processor time, so that other work on the machine counts little; the slowest severity is printed.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from attnrobust.console import positive
from attnrobust.corruptions import CORRUPTIONS, SEVERITIES, corrupt


def drawn(count: int, size: int) -> np.ndarray:
    """Smooth colour images, float32 (N, size, size, 3) in [0, 1]; X-rays would be cheaper."""
    coarse = np.random.default_rng(0).random((count, 8, 8, 3), dtype=np.float32)
    return np.stack([cv2.resize(image, (size, size)) for image in coarse])


def main() -> None:
    """Print a line for each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=positive, default=224, help="px")
    parser.add_argument("--images", type=positive, default=20, help="for each severity")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    images = drawn(options.images, options.size)
    grey = np.ascontiguousarray(np.broadcast_to(images[..., :1], images.shape))
    ids = [str(index) for index in range(options.images)]
    print(f"{options.size} px, {options.images} images a severity, images/s of one core")
    for name, row in CORRUPTIONS.items():
        chosen = grey if row.kind == "xray" else images
        corrupt(chosen[:1], ids[:1], name, 1)
        rates = []
        for severity in SEVERITIES:
            start = time.process_time()
            corrupt(chosen, ids, name, severity)
            rates.append(options.images / (time.process_time() - start))
        print(f"{name:16} {min(rates):7.0f}  (severity {1 + int(np.argmin(rates))})")


if __name__ == "__main__":
    main()
