"""Label maps of brain scans: for each structure the numbers that stand for it in a label file."""

from __future__ import annotations

# Names in label order, the background first; a JSON file for --labels has the same form.
Structures = dict[str, list[int]]

# IBSR's tissues.
TISSUES: Structures = {"background": [0], "csf": [1], "grey_matter": [2], "white_matter": [3]}

# FreeSurfer's aseg, left and right in one: what is often scored. Numbers as in its
# distribution/FreeSurferColorLUT.txt.
FREESURFER: Structures = {
    "background": [0, 24, 30, 62, 72, 80, 81, 82, 85],
    "white_matter": [2, 41, 77, 78, 79, 251, 252, 253, 254, 255],
    "cortex": [3, 42],
    "lateral_ventricle": [4, 43, 5, 44, 31, 63],
    "cerebellum_white_matter": [7, 46],
    "cerebellum_cortex": [8, 47],
    "thalamus": [9, 10, 48, 49],
    "caudate": [11, 50],
    "putamen": [12, 51],
    "pallidum": [13, 52],
    "third_ventricle": [14],
    "fourth_ventricle": [15],
    "brain_stem": [16],
    "hippocampus": [17, 53],
    "amygdala": [18, 54],
    "accumbens": [26, 58],
    "ventral_dc": [28, 60],
}

# MICCAI 2012's multi-atlas challenge (Neuromorphometrics' numbers), which Paschali's paper takes:
# 29 structures, left and right apart, all else background. Which ones the paper scored it does not
# say. The numbers below 100 that the challenge's list marks as ignored are left out on purpose:
# FreeSurfer's white matter, 2, is one, and its files must not pass for these.
_RIGHT = {
    "cerebral_white_matter": 44,
    "lateral_ventricle": 51,
    "inferior_lateral_ventricle": 49,
    "cerebellum_white_matter": 40,
    "cerebellum_cortex": 38,
    "thalamus": 59,
    "caudate": 36,
    "putamen": 57,
    "pallidum": 55,
    "hippocampus": 47,
    "amygdala": 31,
    "ventral_dc": 61,
}
MALC2012: Structures = {
    "background": [0, 23, 30, 42, 43, 46, 63, 64, 69, 71, 72, 73, 75, 76],
    "third_ventricle": [4],
    "fourth_ventricle": [11],
    "brain_stem": [35],
    "right_cortex": list(range(100, 208, 2)),
    "left_cortex": list(range(101, 208, 2)),
    **{f"right_{name}": [number] for name, number in _RIGHT.items()},
    **{f"left_{name}": [number + 1] for name, number in _RIGHT.items()},
}
LABELS = {"tissues": TISSUES, "freesurfer": FREESURFER, "malc2012": MALC2012}
