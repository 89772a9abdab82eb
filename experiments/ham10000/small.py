"""Small networks on HAM10000, for a CPU.

Command: python -m experiments ham10000.NAME all
"""

from experiments.small import mobilenets, resnets

VARIANTS = {
    **mobilenets("HAM10000", "attack.epsilons=0.00005,0.0001,0.0002,0.0004,0.00125,0.005"),
    **resnets("HAM10000"),
}
