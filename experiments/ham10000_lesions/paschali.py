"""The three segmenters of Paschali et al. (MICCAI 2018) on lesions instead of brains.

From the paper: networks, loss and optimizer, as for brain_mri. Ours: all else, the data among it.
Command: python -m experiments ham10000_lesions.NAME train predict attack check evaluate report
"""

from experiments.segmenters import segmenters

VARIANTS = segmenters("dermatoscopic images of lesions")
