"""Images of your own: a ResNet-50 from ImageNet, in the settings of the main paper's experiments.

Claim: none of a paper's. Records come from `attnrobust prepare own`, or any folder of records by
--records; every other setting by --set, such as model.backbone, model.head, data.image_size.
Command: attnrobust train, or python -m experiments own.model all
"""

from attnrobust.config import Attack, Data, Experiment, Model
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="model",
    data=Data(dataset="own"),
    model=Model(backbone="resnet50", head="gap"),
    attack=Attack(epsilons=tuple(k / 255 for k in (0.25, 0.5, 1, 2, 4))),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT, about=__doc__))
