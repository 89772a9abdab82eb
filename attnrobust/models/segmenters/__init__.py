"""SEGMENTERS: networks that keep the image's size, one feature for each pixel, for class maps.

Like backbones they take float32 RGB images in [0, 1], NHWC, have their preprocessing inside and
named places to tap. Behind them stands no head but a 1x1 convolution to the logits of each pixel.
At width 1 the three are of like size (seven to ten million weights), so that what sets them apart
is how they connect: no skips, long skips, long and short ones.
"""

from __future__ import annotations

from attnrobust.models.backbones.base import Backbone
from attnrobust.models.segmenters import fc_densenet, segnet, unet

SEGMENTERS: dict[str, Backbone] = {
    **segnet.ROWS,
    **unet.ROWS,
    **fc_densenet.ROWS,
}
