"""Five grades of retinopathy by plain cross-entropy, sized for a CPU.

Claim: the baseline of Wu, *Robust Training and Interpretability for Fundus Imaging*, Table 5
(accuracy 0.852, balanced 0.586, kappa 0.805): rare grades are taken for the commonest.
From the paper: 20 epochs, its augmentation, no class weights. Ours: MobileNet 0.75 at 128 px where
it has EfficientNet-B0 at 512 px; all else is that of mobilenet_gap.
Command: python -m experiments.eyepacs.balance_cross_entropy all
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="balance_cross_entropy",
    data=Data(dataset="eyepacs", image_size=128),
    model=Model(backbone="mobilenet", head="gap", width=0.75),
    training=Training(
        epochs=20,
        batch_size=32,
        learning_rate=1e-4,
        adam_epsilon=1e-7,
        patience=20,
        min_delta=0.0,
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
    ),
    attack=Attack(epsilons=(0.0001, 0.0004, 0.00125, 0.0025, 0.005, 0.01)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
