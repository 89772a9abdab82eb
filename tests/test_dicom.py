"""DICOM files: grey values as the standard's formulas give them, by hand; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_helpers import colours, encoded, make_eyepacs
from dicom_helpers import dicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLosslessSV1, RLELossless

from attnrobust.data import images, raw, shards
from attnrobust.data.images import UnusableImageError
from attnrobust.data.raw import Row
from tfrecords import eyepacs


def load(content: bytes, megapixels: float = 50) -> tuple[np.ndarray, list[str]]:
    return images.load_image(content, max_megapixels=megapixels)


def grey(content: bytes) -> list[list[int]]:
    image, notes = load(content)
    assert "grey" in notes
    assert image.dtype == np.uint8
    assert (image == image[..., :1]).all()
    return image[..., 0].tolist()


BYTES = np.array([[0, 1, 100], [128, 254, 255]], np.uint8)
DEEP = np.array([[0, 1000, 2000], [3000, 4095, 10]], np.uint16)


def test_eight_bits_stay_as_they_are_and_monochrome1_is_inverted() -> None:
    assert grey(dicom(BYTES)) == BYTES.tolist()
    inverted = dicom(BYTES, PhotometricInterpretation="MONOCHROME1")
    assert grey(inverted) == [[255, 254, 155], [127, 1, 0]]
    assert any("MONOCHROME1" in note for note in load(inverted)[1])


def test_a_slope_without_a_window_moves_both_ends_alike() -> None:
    assert grey(dicom(BYTES, RescaleSlope=2, RescaleIntercept=-50)) == BYTES.tolist()
    falling = dicom(BYTES, RescaleSlope=-1, RescaleIntercept=255)
    assert grey(falling) == (255 - BYTES).tolist(), "physical values rise where stored ones fall"


def test_a_window_is_that_of_the_standard() -> None:
    """PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5) of the range; c 2048, w 1001."""
    # From 2047.5 - 500 = 1547.5 to 2547.5; 2000 is (2000 - 2047.5) / 1000 + 0.5 = 0.4525 of it.
    content = dicom(DEEP, bits=12, WindowCenter=2048, WindowWidth=1001)
    assert grey(content) == [[0, 0, 115], [255, 255, 0]]
    several = dicom(DEEP, bits=12, WindowCenter=[2048, 5], WindowWidth=[1001, 3])
    assert grey(several) == grey(content), "the first of them"
    inverted = dicom(
        DEEP, bits=12, WindowCenter=2048, WindowWidth=1001, PhotometricInterpretation="MONOCHROME1"
    )
    assert grey(inverted) == [[255, 255, 140], [0, 0, 255]]


def test_a_window_is_in_rescaled_values() -> None:
    """CT: stored 1024 is 0 HU; the window of 400 around 40 is 39.5 - 199.5 to 39.5 + 199.5."""
    stored = np.array([[0, 864, 865], [1024, 1063, 1264]], np.uint16)
    content = dicom(
        stored, bits=12, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400
    )
    # -1024 -> 0; -160 -> -0.5 / 399 -> 0; -159 -> 1 / 399 -> 0.64; 0 -> (0 - 39.5) / 399 + 0.5 =
    # 0.401 -> 102.26; 39 -> 0.49875 -> 127.2; 240 -> 1.
    assert grey(content) == [[0, 0, 1], [102, 127, 255]]


def test_signed_values_linear_exact_and_sigmoid() -> None:
    signed = np.array([[-1000, -50], [0, 50]], np.int16)
    exact = dicom(signed, WindowCenter=0, WindowWidth=200, VOILUTFunction="LINEAR_EXACT")
    assert grey(exact) == [[0, 64], [128, 191]]  # 0.25, 0.5 and 0.75 of 255
    sigmoid = dicom(signed, WindowCenter=0, WindowWidth=200, VOILUTFunction="SIGMOID")
    # 255 / (1 + e^(-4 x / 200)): 255 / (1 + e) = 68.6, 127.5, 186.4.
    assert grey(sigmoid) == [[0, 69], [128, 186]]


def test_a_voi_table_goes_before_the_window() -> None:
    table = Dataset()
    table.LUTDescriptor = [4, 10, 8]  # four entries, the first for 10, of 8 bits
    table.LUTData = [0, 200, 50, 255]
    table["LUTData"].VR = "US"
    values = np.array([[0, 10, 11], [12, 13, 400]], np.uint16)
    content = dicom(
        values, bits=12, VOILUTSequence=Sequence([table]), WindowCenter=5, WindowWidth=3
    )
    assert grey(content) == [[0, 0, 200], [50, 255, 255]]


def test_deep_grey_without_a_window_is_stretched_and_said() -> None:
    content = dicom(np.array([[100, 200], [300, 500]], np.uint16), bits=12)
    assert grey(content) == [[0, 64], [128, 255]]  # 0, 0.25, 0.5, 1
    assert any("without a window" in note for note in load(content)[1])
    assert grey(dicom(np.full((2, 2), 7, np.uint16))) == [[0, 0], [0, 0]]


def test_colours() -> None:
    picture = colours(1, 6, 4)
    image, notes = load(dicom(picture))
    np.testing.assert_array_equal(image, picture)
    assert notes == ["DICOM"]
    planes = dicom(picture, PlanarConfiguration=1, PixelData=picture.transpose(2, 0, 1).tobytes())
    np.testing.assert_array_equal(load(planes)[0], picture)
    white = dicom(
        np.full((2, 2, 3), [255, 128, 128], np.uint8), PhotometricInterpretation="YBR_FULL"
    )
    np.testing.assert_array_equal(load(white)[0], np.full((2, 2, 3), 255))
    tables = {
        f"{name}PaletteColorLookupTableDescriptor": [2, 0, 16] for name in ("Red", "Green", "Blue")
    }
    data = {
        f"{name}PaletteColorLookupTableData": np.array(entries, np.uint16).tobytes()
        for name, entries in (("Red", [0, 0xFFFF]), ("Green", [0x1000, 0]), ("Blue", [0, 0x8000]))
    }
    palette = dicom(
        np.array([[0, 1]], np.uint8), PhotometricInterpretation="PALETTE COLOR", **tables, **data
    )
    assert load(palette)[0].tolist() == [[[0, 16, 0], [255, 0, 128]]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (dicom(np.zeros((3, 4, 5), np.uint8), NumberOfFrames=3), "^DICOM of 3 frames, expected"),
        (dicom(BYTES, PixelData=None), r"^DICOM without pixel data \(DX\)"),
        (dicom(BYTES, PixelData=None, FloatPixelData=bytes(24)), "^DICOM with FloatPixelData"),
        (dicom(BYTES)[:-3], "cannot be decoded"),
        (dicom(BYTES)[:200], "damaged|without pixel data"),
        (dicom(BYTES, PhotometricInterpretation="HSV"), "photometric interpretation HSV"),
        (dicom(DEEP, bits=12, WindowCenter=5, WindowWidth=0), "damaged .*Window Width"),
        (dicom(np.zeros((200, 200), np.uint8)), "0.0 megapixels, more than 0.01"),
    ],
    ids=["frames", "no pixels", "floats", "cut", "header", "HSV", "no width", "large"],
)
def test_what_is_no_image_has_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableImageError, match=reason) as error:
        load(content, 0.01)
    assert len(str(error.value).splitlines()) == 1


def compressed(syntax: str) -> bytes:
    """A file that says that its pixels are compressed so; they are not even that."""
    from pydicom.encaps import encapsulate

    return dicom(BYTES, syntax=syntax, PixelData=encapsulate([b"\xff\xd8" + bytes(30)]))


def test_a_compression_that_nothing_reads_is_named() -> None:
    with pytest.raises(UnusableImageError, match=r"^DICOM compressed as JPEG Lossless"):
        load(compressed(JPEGLosslessSV1))


def test_run_lengths_are_read() -> None:
    import io

    import pydicom

    whole = pydicom.dcmread(io.BytesIO(dicom(BYTES)))
    whole.compress(RLELossless)
    content = io.BytesIO()
    whole.save_as(content)
    assert grey(content.getvalue()) == BYTES.tolist()


def test_random_damage_ends_as_a_reason() -> None:
    rng = np.random.default_rng(0)
    whole = dicom(DEEP, bits=12, WindowCenter=2048, WindowWidth=1001, RescaleSlope=1)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for position in rng.integers(132, len(content), 3):
            content[position] = rng.integers(0, 256)
        try:
            image, _ = load(bytes(content))
        except UnusableImageError:
            refused += 1
        else:
            assert image.dtype == np.uint8
            assert image.shape[2] == 3
    assert 20 < refused < 150


def test_every_reader_takes_them_with_and_without_a_suffix(tmp_path: Path) -> None:
    make_eyepacs(tmp_path, patients=10)
    picture = colours(0)[..., 0]
    names = {"100_left": "100_left.dcm", "100_right": "100_right", "101_left": "101_left.DICOM"}
    for id_, name in names.items():
        (tmp_path / "train" / f"{id_}.jpeg").unlink()
        (tmp_path / "train" / name).write_bytes(dicom(picture))
    rows, rejects = eyepacs.read(tmp_path)
    assert not rejects
    assert {row.path.name for row in rows if row.id in names} == set(names.values())
    row = next(row for row in rows if row.id == "100_right")
    stored, made = shards.prepare_image(row, shards.Preparation(size=16))
    np.testing.assert_array_equal(load(stored)[0][..., 0], picture)
    assert "grey" in made.converted


def test_a_file_named_by_its_uid_is_found_by_it_and_no_other(tmp_path: Path) -> None:
    uid = "1.2.840.113619.2.55"
    (tmp_path / uid).write_bytes(dicom(BYTES))
    (tmp_path / "notes.7").write_bytes(b"text")
    (tmp_path / "a.png").write_bytes(encoded(colours(1), "PNG"))
    found = raw.index_images([tmp_path], (".png",))
    paths, rejects = raw.find_images([uid, "notes", "a"], [2, 3, 4], found)
    assert paths == {2: tmp_path / uid, 4: tmp_path / "a.png"}
    assert rejects[0].reason.startswith("notes.7 is there; ")


def test_a_dicom_image_that_needs_no_change_is_stored_without_loss(tmp_path: Path) -> None:
    picture = colours(3)
    (tmp_path / "x.dcm").write_bytes(dicom(picture))
    row = Row("x", tmp_path / "x.dcm", "a", "x", 2)
    stored, _ = shards.prepare_image(row, shards.Preparation(size=16))
    np.testing.assert_array_equal(load(stored)[0], picture)
