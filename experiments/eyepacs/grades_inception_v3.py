"""InceptionV3 on the five grades of EyePACS.

Claim (Wu, Table 4): 81.6 % clean, 49.7 % balanced, kappa 0.706 at 299 px.
From the paper: network, ImageNet weights, 20 epochs, size, batch size, no class weights, the best
epoch. Ours: Adam with 1e-4, since it names neither optimizer nor rate. Ours too: the best epoch by
validation loss, on patients apart from the test split's (the paper tests on the images it chooses
by), no dropout before the last layer and a PGD with 40 steps up to the paper's epsilon of 2.5/255.
Keras' network has no auxiliary classifier.
Records: python -m tfrecords.eyepacs --raw DIR --fit disc --filter graham
Command: python -m experiments.eyepacs.grades_inception_v3 all
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.grades_efficientnet_b0 import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="grades_inception_v3",
    data=dataclasses.replace(TWIN.data, image_size=299),
    model=dataclasses.replace(TWIN.model, backbone="inception_v3"),
    training=dataclasses.replace(TWIN.training, batch_size=64),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
