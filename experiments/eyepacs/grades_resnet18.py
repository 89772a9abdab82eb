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

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.pipeline import main

EXPERIMENT = Experiment(
    name="grades_resnet18",
    data=Data(dataset="eyepacs", image_size=256),
    model=Model(backbone="resnet18", head="gap", weights="none"),
    training=Training(
        augmentation=(
            "wu_flip",
            "wu_scale",
            "wu_shift",
            "wu_rotate",
            "wu_shear",
            "wu_brightness",
            "wu_contrast",
        ),
        epochs=20,
        batch_size=128,
        learning_rate=1e-3,
        adam_epsilon=1e-7,
        class_weights="none",
        patience=20,
        min_delta=0.0,
    ),
    attack=Attack(epsilons=(0.5 / 255, 1 / 255, 1.5 / 255, 2 / 255, 2.5 / 255)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
