"""Small networks on EyePACS, for a CPU.

Command: python -m experiments eyepacs.NAME all
"""

from experiments.small import mobilenets, resnets

VARIANTS = {
    **mobilenets("EyePACS", "data.task=binary"),
    **resnets("EyePACS", "data.task=binary"),
}
