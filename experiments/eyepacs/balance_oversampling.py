"""Its twin balance_cross_entropy on every grade as often as the commonest.

Claim: repeated images are learned by heart: accuracy falls from 0.852 to 0.704, balanced accuracy
from 0.586 to 0.399; dropout of 0.75 brings most of it back (Wu, Table 5).
Ours: MobileNet 0.75 at 128 px where it has EfficientNet-B0 at 512 px; settings of mobilenet_gap.
Command: python -m experiments.eyepacs.balance_oversampling all
With dropout 0.75: the same with --set model.head=flatten --set model.dropout=0.75
    --set name=balance_oversampling_0.75
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.pipeline import main

EXPERIMENT = Experiment(
    name="balance_oversampling",
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
        sampling="oversample",
    ),
    attack=Attack(epsilons=(0.0001, 0.0004, 0.00125, 0.0025, 0.005, 0.01)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
