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

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.pipeline import main

EXPERIMENT = Experiment(
    name="grades_inception_v3",
    data=Data(dataset="eyepacs", image_size=299),
    model=Model(backbone="inception_v3", head="gap"),
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
        batch_size=64,
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
