"""Fine-tune a MobileNet on HAM10000 in plain Keras: fine_tune.py RAW OUT [WEIGHTS].

On Python 3.12 and newer with TF_USE_LEGACY_KERAS=1: files of Keras 2 are read by attnrobust.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.model_selection import GroupShuffleSplit

raw, out = Path(sys.argv[1]), Path(sys.argv[2])
weights = sys.argv[3] if len(sys.argv) > 3 else "imagenet"
tf.keras.utils.set_random_seed(0)
files = {path.stem: path for path in raw.rglob("*.jpg")}
table = pd.read_csv(raw / "HAM10000_metadata.csv").query("image_id in @files")
classes, labels = np.unique(table["dx"], return_inverse=True)
# A lesion is photographed several times: all its images go to one side.
split = GroupShuffleSplit(1, test_size=0.3, random_state=0)
train, test = next(split.split(table, groups=table["lesion_id"]))


def load(name: str) -> np.ndarray:
    image = tf.io.decode_jpeg(tf.io.read_file(str(files[name])))
    return tf.image.resize(image, (128, 128), antialias=True).numpy() / 127.5 - 1


images = np.stack([load(name) for name in table["image_id"]])
backbone = tf.keras.applications.MobileNet((128, 128, 3), 0.75, include_top=False, weights=weights)
pooled = tf.keras.layers.GlobalAveragePooling2D()(backbone.output)
chances = tf.keras.layers.Dense(len(classes), activation="softmax")(pooled)
model = tf.keras.Model(backbone.input, chances)
model.compile(tf.keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", ["accuracy"])
model.fit(images[train], labels[train], batch_size=32, epochs=8, verbose=2)
print("test", model.evaluate(images[test], labels[test], verbose=0))
out.mkdir(parents=True, exist_ok=True)
model.save(out / "model.keras")
held_out = table.iloc[test].rename(columns={"image_id": "file", "dx": "label"})
held_out[["file", "label", "lesion_id"]].to_csv(out / "test.csv", index=False)
