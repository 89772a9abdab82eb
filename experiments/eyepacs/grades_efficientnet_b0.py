"""EfficientNet-B0 on the five grades of EyePACS.

Claim (Wu, Table 4): 81.5 % clean, 44.0 % balanced, kappa 0.696 at 256 px; 85.2 %, 58.6 %, 0.805 at
512 px.
From the paper: network, ImageNet weights, 20 epochs, size, batch size, no class weights, the best
epoch. Ours: Adam with 1e-4, since it names neither optimizer nor rate. Ours too: the best epoch by
validation loss, on patients apart from the test split's (the paper tests on the images it chooses
by), no dropout before the last layer and a PGD with 40 steps up to the paper's epsilon of 2.5/255.
Records: python -m tfrecords.eyepacs --raw DIR --fit disc --filter graham
Command: python -m experiments.eyepacs.grades_efficientnet_b0 all
At 512 px (records of --size 512): … all --set data.image_size=512 --set training.batch_size=16
    --set name=grades_efficientnet_b0_512
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="grades_efficientnet_b0",
    data=Data(dataset="eyepacs", image_size=256),
    model=Model(backbone="efficientnet_b0", head="gap"),
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
        batch_size=192,
        learning_rate=1e-4,
        adam_epsilon=1e-7,
        class_weights="none",
        patience=20,
        min_delta=0.0,
    ),
    attack=Attack(epsilons=(0.5 / 255, 1 / 255, 1.5 / 255, 2 / 255, 2.5 / 255)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
