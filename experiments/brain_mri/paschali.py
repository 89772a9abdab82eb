"""Paschali et al., *Generalizability vs. Robustness: Investigating Medical Imaging Networks Using
Adversarial Examples* (MICCAI 2018), segmentation: three networks by their skip connections.

From the paper: SegNet, U-Net, DenseNet of comparable size, weighted cross-entropy plus Dice, Adam
at 0.001. Ours, since it states none: width (7 to 10 million weights), median-frequency weights,
batch, epochs and patience, no augmentation; SEA's ensemble in place of DAG, whose tables
`attnrobust transfer --paper paschali` makes. It has 27 scans of OASIS with the structures of MICCAI
2012's challenge, split 80 to 20: `prepare brain_mri --labels malc2012 --split 0.8 0 0.2` reads
those; without --labels it is IBSR's tissues.
Command: python -m experiments brain_mri.NAME train predict attack check evaluate report export
"""

from experiments.segmenters import segmenters

VARIANTS = segmenters("coronal slices of brain scans")
