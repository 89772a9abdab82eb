"""Small networks on ChestX-ray14, for a CPU.

Command: python -m experiments chestxray14.NAME all
"""

from experiments.small import mobilenets, resnets

VARIANTS = {
    **mobilenets("ChestX-ray14", "training.augmentation=zoom,shift"),
    **resnets("ChestX-ray14", "training.augmentation=zoom,shift"),
}
