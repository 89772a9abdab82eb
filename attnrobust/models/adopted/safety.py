"""What a model's file would run or import, read from its configuration before it is loaded.

Keras asks before it runs a Lambda layer of a `.keras` file, but not of an `.h5` file or a
SavedModel; and a `.keras` file may name any function of any module.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
from tensorflow import keras

from attnrobust import config, stack
from attnrobust.errors import UserError

# What saves models in another form, by the ending of its files, and what to do.
KERAS = "save the Keras model with model.save('model.keras')"
FOREIGN = {
    ".pt": "PyTorch's; attnrobust reads Keras models",
    ".pth": "PyTorch's; attnrobust reads Keras models",
    ".safetensors": "weights alone; attnrobust reads Keras models",
    ".onnx": "ONNX; attnrobust reads Keras models, and SavedModels such as onnx2tf writes",
    ".tflite": f"TensorFlow Lite, which gives no derivatives; {KERAS}",
    ".pb": "a part of a SavedModel; give its folder",
    ".ckpt": f"weights alone; {KERAS}",
    ".index": f"weights alone; {KERAS}",
}
METADATA = "keras_metadata.pb"
# Where TensorFlow's functions do more than compute.
ACTS = {"io", "raw_ops", "py_function", "numpy_function", "load_library", "load_op_library"}
ACTS |= {"saved_model", "train", "data", "summary", "keras", "sysconfig", "profiler", "config"}
# The same in the graph of a SavedModel; SaveV2 is there in every one.
OPERATIONS = {"WriteFile", "ReadFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"}


def kind_of(path: Path) -> str:
    """`keras`, `h5`, `saved_model` (of Keras) or `served` (a SavedModel with signatures alone).

    Raises:
        UserError: No such file, or no model that can be read here.
    """
    if not path.exists():
        raise UserError(
            f"{path}: no such file; expected .keras, .h5, a SavedModel folder or "
            "package.module:function"
        )
    if path.suffix in FOREIGN:
        raise UserError(f"{path}: {FOREIGN[path.suffix]}")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise UserError(f"{path}: no SavedModel (a folder with saved_model.pb in it)")
        return "saved_model" if (path / METADATA).is_file() else "served"
    if zipfile.is_zipfile(path):
        return "keras"
    if h5py.is_hdf5(path):
        return "h5"
    raise UserError(f"{path}: damaged, or no Keras model; {KERAS}")


def described(path: Path, kind: str) -> tuple[list[Any], str]:
    """The configurations inside a file, as parsed JSON, and the version of Keras that wrote it.

    Raises:
        UserError: There is none: weights alone, or a damaged file.
    """
    try:
        if kind == "keras":
            with zipfile.ZipFile(path) as archive:
                version = json.loads(archive.read("metadata.json")).get("keras_version", "")
                return [json.loads(archive.read("config.json"))], version
        if kind == "h5":
            with h5py.File(path, "r") as file:
                if "model_config" in file.attrs:
                    version = file.attrs.get("keras_version", "")
                    return [json.loads(_text(file.attrs["model_config"]))], _text(version)
            raise UserError(
                f"{path}: weights alone, without the network; {KERAS}, or give "
                "package.module:function that builds the network and loads them"
            )
        metadata = stack.inside_keras("protobuf.saved_metadata_pb2").SavedMetadata()
        metadata.ParseFromString((path / METADATA).read_bytes())
        return [json.loads(node.metadata) for node in metadata.nodes if node.metadata], ""
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: damaged, or no Keras model ({_line(error)})") from error
    except Exception as error:
        # protobuf's DecodeError derives from Exception alone.
        if type(error).__name__ != "DecodeError":
            raise
        raise UserError(f"{path}: {METADATA} is damaged") from error


def require(path: Path, descriptions: list[Any], adopted: config.Adopted) -> None:
    """Raise a UserError that names the layer unless nothing but Keras and `custom` would run."""
    if adopted.allow_code:
        return
    own = dict(each.split(":", 1)[::-1] for each in adopted.custom)
    for owner, part in _parts(descriptions, ""):
        if part.get("class_name") == "__lambda__" or "lambda" in _function_types(part):
            raise UserError(
                f"{path}: layer '{owner}' holds Python code that would run when it is loaded (a "
                "Lambda layer); expected a model without, or --allow-code where its author is "
                "trusted"
            )
        function = part.get("config", {}) if part.get("class_name") == "TFOpLambda" else {}
        symbol = str(dict(function).get("function", "")).removeprefix("compat.v1.")
        if symbol.split(".")[0] in ACTS:
            raise UserError(
                f"{path}: layer '{owner}' calls tf.{symbol}, which does more than compute; "
                "expected a model without, or --allow-code where its author is trusted"
            )
        _require_known(path, owner, part, own)


def _require_known(path: Path, owner: str, part: dict[str, Any], own: dict[str, str]) -> None:
    """Whether a class or function that is named with its module is Keras' or one of `custom`."""
    module, name = part.get("module"), part.get("class_name")
    if not isinstance(module, str) or not isinstance(name, str) or "config" not in part:
        return
    if module.split(".")[0] in ("keras", "tf_keras") or module in own.values():
        return
    if name == "function":
        name = str(part["config"])
        if module == "builtins" and _is_of_keras(name):
            return
    if name not in own:
        raise unknown(path, name, f"layer '{owner}'", "module" if module == "builtins" else module)


def require_graph(path: Path, adopted: config.Adopted) -> None:
    """Raise a UserError unless the graph of a SavedModel computes and does nothing else."""
    if adopted.allow_code:
        return
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:
        if type(error).__name__ != "DecodeError":
            raise
        raise UserError(f"{path}: saved_model.pb is damaged") from error
    graphs = [each.graph_def for each in saved.meta_graphs]
    bodies = [graph.node for graph in graphs]
    bodies += [function.node_def for graph in graphs for function in graph.library.function]
    found = sorted({node.op for body in bodies for node in body} & OPERATIONS)
    if found:
        raise UserError(
            f"{path}: its graph reads or writes files, or calls Python ({', '.join(found)}); "
            "expected a model without, or --allow-code where its author is trusted"
        )


def unknown(path: Path, name: str, where: str = "", module: str = "module") -> UserError:
    """The error that says how to name a layer or function of the author's own."""
    return UserError(
        f"{path}: {where + ': ' if where else ''}'{name}' is no layer or function of Keras; name "
        f"the Python module that defines it: --custom {module}:{name}"
    )


def _is_of_keras(function: str) -> bool:
    places = (keras.activations, keras.initializers, keras.losses, keras.metrics)
    return any(hasattr(place, function) for place in places)


def _function_types(part: dict[str, Any]) -> set[Any]:
    return {
        value for key, value in part.items() if key.endswith("_type") and isinstance(value, str)
    }


def _parts(node: Any, owner: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict inside, with the name of the layer that it belongs to."""
    if isinstance(node, list):
        for each in node:
            yield from _parts(each, owner)
    elif isinstance(node, dict):
        inner = node.get("config")
        named = inner.get("name") if isinstance(inner, dict) else None
        owner = named if isinstance(named, str) and "class_name" in node else owner
        yield owner, node
        for each in node.values():
            yield from _parts(each, owner)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
