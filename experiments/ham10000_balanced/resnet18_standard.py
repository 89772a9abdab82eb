"""ResNet-18 on nv, bkl and mel, equally many of each, trained on the images as they are.

Claim: more accurate on clean images than its twin resnet18_adversarial, with gradients that are
noise (Margeloiu et al., *Improving Interpretability in Medical Imaging Diagnosis using Adversarial
Training*, figures 1, 5 and 13; settings in appendix A).
From the paper: network, 224 px, 25 epochs, batches of 16, learning rate 3e-4 (found by five-fold
cross-validation over 1e-3, 3e-4, 1e-4 and batches of 8, 16, 32: see the second command) and a tenth
of it after 15, weight decay 5e-4, Adam as PyTorch has it, no class weights, flips, rotation by up
to 10 and then by up to 50 degrees, brightness, contrast and saturation changed by up to 0.2, the
centre square of each image (the records' default). Ours: random starting weights where it starts
from ImageNet's and trains the last layer alone for ten epochs (with such weights: --set
training.head_epochs=10 --set training.epochs=35 --set training.decay_epochs=25; it does so in
batches of 32); an eighth of its 2,400 training images for validation, and folds cut from the others
alone; pixels in [-1, 1] where it has ImageNet's mean and deviation; the decay is decoupled; the
epoch of the best validation loss; the attack; Grad-CAM.
Command: python -m experiments.ham10000_balanced.resnet18_standard all
Command: python -m experiments.ham10000_balanced.resnet18_standard search --folds 5
    --grid training.learning_rate=1e-3,3e-4,1e-4 --grid training.batch_size=8,16,32
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="resnet18_standard",
    data=Data(dataset="ham10000_balanced", image_size=224),
    model=Model(backbone="resnet18", head="gap", weights="none"),
    training=Training(
        epochs=25,
        batch_size=16,
        learning_rate=3e-4,
        adam_epsilon=1e-8,
        weight_decay=5e-4,
        schedule="step",
        decay_epochs=(15,),
        class_weights="none",
        patience=25,
        min_delta=0.0,
        augmentation=("flip", "margeloiu_rotate", "margeloiu_colour"),
    ),
    attack=Attack(
        name="l2_pgd", epsilons=(0.25, 0.5, 1.0, 2.0, 4.0, 6.0), steps=40, rel_stepsize=0.1
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
