"""EfficientNet-B2 on the five grades of EyePACS.

Claim (Wu, Table 4): 82.3 % clean, 54.9 % balanced, kappa 0.739 at 256 px; 85.2 %, 61.0 %, 0.811 at
512 px.
From the paper: network, ImageNet weights, 20 epochs, size, batch size, no class weights, the best
epoch. Ours: Adam with 1e-4, since it names neither optimizer nor rate. Ours too: the best epoch by
validation loss, on patients apart from the test split's (the paper tests on the images it chooses
by), no dropout before the last layer and a PGD with 40 steps up to the paper's epsilon of 2.5/255.
Records: python -m tfrecords.eyepacs --raw DIR --fit disc --filter graham
Command: python -m experiments.eyepacs.grades_efficientnet_b2 all
At 512 px (records of --size 512): … all --set data.image_size=512 --set training.batch_size=16
    --set name=grades_efficientnet_b2_512
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.grades_efficientnet_b0 import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="grades_efficientnet_b2",
    model=dataclasses.replace(TWIN.model, backbone="efficientnet_b2"),
    training=dataclasses.replace(TWIN.training, batch_size=96),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
