"""Paschali et al., *Generalizability vs. Robustness: Investigating Medical Imaging Networks Using
Adversarial Examples*, tables 1 and 2, classification.

From the paper: data set, networks, SGD with momentum 0.9 from a rate of 0.01 that decays, dropout
of 0.8, cross-entropy weighted by class, affine augmentation, half of the patients for the test.
Ours, since it states none: a tenth of the rate after 5 epochs without a better validation loss, the
end after 15, at most 200 epochs in batches of 32, what affine is (flips, rotation, zoom, shift,
shear), weights by inverse frequency, a fifth of the training half for validation, 299 px and
MobileNet's 224. keras.applications has no InceptionV4, so that it starts from random weights where
the paper starts from ImageNet's (--set model.weights=FILE). 0.8 is taken as the share that is
dropped; in TF-Slim, where these networks come from, it is the share that is kept: --set
model.dropout=0.2. The library names no patients: tfrecords/dermofit.py says what that does to the
split.
Records: attnrobust prepare dermofit --raw DIR --split 0.4 0.1 0.5
Command: python -m experiments dermofit.NAME train predict evaluate
Then: attnrobust transfer runs/dermofit/paschali_* --paper paschali --out reports/dermofit-transfer
Result: not run; the data set asks for a licence.
"""

from experiments.paschali import networks

VARIANTS = networks()
