"""ResNet-18 on the five grades of EyePACS.

Claim (Wu, Table 4): 81.2 % clean, 47.6 % balanced, kappa 0.701 at 256 px; 83.6 %, 52.1 %, 0.760 at
512 px.
From the paper: network, 20 epochs, size, batch size, no class weights, the best epoch. Ours: random
starting weights, since Keras has no ImageNet's for ResNet-18, and therefore Adam's usual 1e-3; the
paper names neither optimizer nor rate. Ours too: the best epoch by validation loss, on patients
apart from the test split's (the paper tests on the images it chooses by) and a PGD with 40 steps up
to the paper's epsilon of 2.5/255.
Records: python -m tfrecords.eyepacs --raw DIR --fit disc --filter graham
Command: python -m experiments.eyepacs.grades_resnet18 all
At 512 px (records of --size 512): … all --set data.image_size=512 --set training.batch_size=64
    --set name=grades_resnet18_512
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.grades_efficientnet_b0 import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="grades_resnet18",
    model=dataclasses.replace(TWIN.model, backbone="resnet18", weights="none"),
    training=dataclasses.replace(TWIN.training, batch_size=128, learning_rate=1e-3),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
