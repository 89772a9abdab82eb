"""BACKBONES: feature extractors, with their preprocessing inside and named places to cut and tap.

Every backbone takes float32 RGB images in [0, 1], NHWC; what its weights expect instead (BGR minus
the ImageNet means, [-1, 1]) is a layer of the network, called `preprocessing`, so attacks and
heatmaps stay in [0, 1]. A file a family; its rows stand at its bottom.
"""

from __future__ import annotations

from attnrobust.models.backbones import efficientnet, inception, inception_v4, mobilenet, resnet
from attnrobust.models.backbones.base import Backbone

BACKBONES: dict[str, Backbone] = {
    **resnet.ROWS,
    **inception.ROWS,
    **inception_v4.ROWS,
    **mobilenet.ROWS,
    **efficientnet.ROWS,
}
