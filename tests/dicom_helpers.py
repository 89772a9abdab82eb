"""DICOM files as scanners write them, made with pydicom."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


def dicom(values: np.ndarray, *, bits: int = 0, **elements: Any) -> bytes:
    """A file's bytes.

    Args:
        values: Whole numbers (H, W), or uint8 (H, W, 3), or (frames, H, W) with NumberOfFrames.
        bits: Bits stored; 0: all of the array's type.
        elements: Of the data set by keyword; None leaves one out. `syntax`: the transfer syntax
            that the file says it has.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    colour = values.ndim == 3 and values.shape[2] == 3 and "NumberOfFrames" not in elements
    allocated = 8 * values.dtype.itemsize
    described = {
        "Modality": "DX",
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "Rows": values.shape[0] if colour or values.ndim == 2 else values.shape[1],
        "Columns": values.shape[1] if colour or values.ndim == 2 else values.shape[2],
        "BitsAllocated": allocated,
        "BitsStored": bits or allocated,
        "HighBit": (bits or allocated) - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        **({"PlanarConfiguration": 0} if colour else {}),
        "PixelData": values.tobytes(),
        **elements,
    }
    for name, value in described.items():
        if value is not None:
            setattr(made, name, value)
    if "PixelData" in made:
        made["PixelData"].VR = "OB" if allocated == 8 else "OW"
    content = io.BytesIO()
    made.save_as(content, enforce_file_format=True)
    return content.getvalue()
