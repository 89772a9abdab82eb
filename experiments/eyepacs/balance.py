"""Wu, *Robust Training and Interpretability for Fundus Imaging*, Table 5: rare grades.

From the paper: 20 epochs, its augmentation, no class weights. Ours: MobileNet 0.75 at 128 px where
it has EfficientNet-B0 at 512 px; all else is that of mobilenet_gap, or of the twin.
Command: python -m experiments eyepacs.NAME all
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
"""

import dataclasses

from experiments.small import MOBILENET
from experiments.variants import Variant

BASE = dataclasses.replace(
    MOBILENET,
    training=dataclasses.replace(
        MOBILENET.training,
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
)

VARIANTS = {
    "balance_cross_entropy": Variant(
        """Five grades of retinopathy by plain cross-entropy, sized for a CPU.

        Claim: the baseline (accuracy 0.852, balanced 0.586, kappa 0.805): rare grades are taken for
        the commonest.
        """,
        BASE,
    ),
    "balance_focal": Variant(
        """Its twin balance_cross_entropy with the focal loss, gamma 2.

        Claim: gamma 2 raises balanced accuracy from 0.586 to 0.629 for 0.4 % of accuracy (Table 5;
        the text says less than 0.1 %).
        Other rows (it has 1 to 4): the same with --set training.focal_gamma=3 --set name=NAME_3
        """,
        "balance_cross_entropy",
        ("training.loss=focal",),
    ),
    "balance_class_balanced": Variant(
        """Its twin balance_cross_entropy with the class-balanced loss, beta 0.99.

        Claim: beta 0.99 raises balanced accuracy from 0.586 to 0.621 at the same accuracy.
        Other rows (it has 0.9, 0.99 and 0.999): the same with
            --set training.class_balanced_beta=0.999 --set name=NAME_0.999
        """,
        "balance_cross_entropy",
        ("training.class_weights=effective_number",),
    ),
    "balance_inverse_frequency": Variant(
        """Its twin balance_cross_entropy with the inverse-frequency loss.

        Claim: as balanced as the baseline (0.596 against 0.586), for 5 % of accuracy.
        """,
        "balance_cross_entropy",
        ("training.class_weights=inverse_frequency",),
    ),
    "balance_oversampling": Variant(
        """Its twin balance_cross_entropy on every grade as often as the commonest.

        Claim: repeated images are learned by heart: accuracy falls from 0.852 to 0.704, balanced
        accuracy from 0.586 to 0.399; dropout of 0.75 brings most of it back.
        """,
        "balance_cross_entropy",
        ("training.sampling=oversample",),
    ),
    "balance_oversampling_dropout_075": Variant(
        """balance_oversampling with a dropout of 0.75 before the last layer.

        Claim: 0.826 accuracy, 0.555 balanced, kappa 0.775, where the twin has 0.704, 0.399 and
        0.612: dropout holds back the learning by heart.
        """,
        "balance_oversampling",
        ("model.head=gap_dropout", "model.dropout=0.75"),
    ),
    "balance_oversampling_dropout_090": Variant(
        """balance_oversampling with a dropout of 0.9 before the last layer.

        Claim: 0.780 accuracy, 0.578 balanced, kappa 0.780, where the twin has 0.704, 0.399 and
        0.612: dropout holds back the learning by heart.
        """,
        "balance_oversampling",
        ("model.head=gap_dropout", "model.dropout=0.9"),
    ),
    "balance_oversampling_restart": Variant(
        """A few epochs of oversampling from the weights of balance_cross_entropy.

        Claim: the most balanced of all (0.630 against 0.586) at the cost of the commonest grade:
        accuracy 0.760 (Table 5, five epochs; the text says that one is best).
        First: python -m experiments eyepacs.balance_cross_entropy all, with the same seed.
        """,
        "balance_cross_entropy",
        (
            "training.epochs=5",
            "training.sampling=oversample",
            "training.start=balance_cross_entropy",
        ),
    ),
    "balance_smote": Variant(
        """Its twin balance_cross_entropy with rare grades filled up by SMOTE.

        Claim: mixtures of photographs are no photographs: accuracy falls from 0.852 to 0.211,
        balanced accuracy from 0.586 to 0.504.
        """,
        "balance_cross_entropy",
        ("training.sampling=smote",),
    ),
}
