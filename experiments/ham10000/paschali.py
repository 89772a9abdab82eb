"""Paschali et al., tables 1 and 2, classification, on HAM10000 in place of Dermofit.

Settings, and what of them is ours, are those of experiments/dermofit/paschali.py.
Records: attnrobust prepare ham10000 --raw DIR --split 0.4 0.1 0.5 --out
    tfrecords/shards/ham10000_halves
Command: python -m experiments ham10000.NAME train predict evaluate
Then: attnrobust transfer runs/ham10000/paschali_* --paper paschali --out reports/ham10000-transfer
Result: not run yet on the full data set.
"""

from experiments.paschali import networks

VARIANTS = networks("data.records=ham10000_halves")
