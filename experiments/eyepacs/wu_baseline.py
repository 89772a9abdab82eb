"""MobileNet 0.75 on fundus photographs by grade, trained on them as they are: Wu's baseline.

Claim: 85.2 % accuracy, 58.6 % balanced, kappa 0.805; 76.4 % on corrupted images, 8.8 points less;
PGD with 5 steps changes over 80 % of its predictions from ε 2.5/255 on (Wu, *Robust Training and
Interpretability for Fundus Imaging*, tables 6 and 8, figure 5).
From the paper: five grades, cross-entropy, 20 epochs, its augmentation, no class weights, PGD's 5
steps, the success rate (every image is attacked, right or wrong, at every ε: mode, early_stop).
Ours: the network and its size, for a CPU; the paper's EfficientNet-B0 at 512 px in batches of 48 is
    --set model.backbone=efficientnet_b0 --set model.width=1 --set data.image_size=512
    --set training.batch_size=48
and needs records of that --size and a GPU; further ours: learning rate, a step of 0.4 of epsilon
(5 of them reach the edge twice), the epsilons, all test images where it attacks 240 of its
validation set, what level 1 to 4 of a corruption is (the paper's are Zeiss' own). Five steps
are weak: quote no robust accuracy from them. Corrupted test images: `mixture` at severity 4, one of
four corruptions at a level from 1 to 4.
The paper's pixels are in [-1, 1] and it does not say in which scale its epsilon is: its 2.5/255 may
be 1.25/255 here, which attack --as wu --set attack.scale=model_input measures beside it.
Records: python -m tfrecords.eyepacs --raw DIR --fit disc; without a filter, which a camera's faults
would come before.
Command: python -m experiments.eyepacs.wu_baseline train predict attack evaluate
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
Result: not run yet on the full data set.
"""

from attnrobust.config import Attack, Corruptions, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="wu_baseline",
    data=Data(dataset="eyepacs", image_size=128),
    model=Model(backbone="mobilenet", head="gap", width=0.75),
    training=Training(
        epochs=20,
        batch_size=32,
        learning_rate=1e-4,
        adam_epsilon=1e-7,
        class_weights="none",
        augmentation=(
            "wu_flip",
            "wu_scale",
            "wu_shift",
            "wu_rotate",
            "wu_shear",
            "wu_brightness",
            "wu_contrast",
        ),
        patience=20,
        min_delta=0.0,
    ),
    corruptions=Corruptions(names=("mixture",), severities=(4,)),
    attack=Attack(
        epsilons=(
            0.05 / 255,
            0.1 / 255,
            0.2 / 255,
            0.5 / 255,
            1 / 255,
            1.5 / 255,
            2.5 / 255,
            5 / 255,
        ),
        steps=5,
        rel_stepsize=0.4,
        mode="independent",
        early_stop=False,
        batch_size=64,
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
