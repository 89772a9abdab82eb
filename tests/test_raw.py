"""Tables and image files: what is taken, what is refused and for which reason."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_helpers import colours, encoded, pixels
from PIL import Image

from attnrobust.data import images, raw
from attnrobust.data.raw import UnusableImageError
from attnrobust.errors import UserError

COLUMNS = ("lesion_id", "image_id", "dx")
HEADER = "lesion_id,image_id,dx\n"
LIMIT = 50.0


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "L1,I1,nv\nL2,I2,mel\n",
        HEADER + "L1,I1,nv\nL2,I2,mel",
        b"\xef\xbb\xbf" + (HEADER + "L1,I1,nv\nL2,I2,mel\n").encode(),
        (HEADER + "L1,I1,nv\nL2,I2,mel\n").replace("\n", "\r\n"),
        " lesion_id , image_id,dx \n L1 ,I1 , nv\nL2,\tI2,mel \n",
        'dx,"image_id",lesion_id,age\nnv,I1,"L1",\nmel,I2,L2,50.0\n',
        HEADER + "L1,I1,nv\nL2,I2,mel\n\n\n",
    ],
    ids=["plain", "no last line end", "BOM", "Windows", "spaces", "order and quotes", "blank end"],
)
def test_a_table_is_read_whatever_its_bom_spaces_and_line_ends(tmp_path: Path, text: str) -> None:
    found = raw.read_table(table(tmp_path, text), COLUMNS)
    assert list(found["lesion_id"]) == ["L1", "L2"]
    assert list(found["image_id"]) == ["I1", "I2"]
    assert list(found["dx"]) == ["nv", "mel"]


def test_words_that_pandas_takes_for_missing_stay_text(tmp_path: Path) -> None:
    found = raw.read_table(table(tmp_path, HEADER + "NA,001,nan\n,null,\n"), COLUMNS)
    assert found.to_numpy().tolist() == [["NA", "001", "nan"], ["", "null", ""]]


def test_blank_lines_are_left_out_but_counted(tmp_path: Path) -> None:
    found = raw.read_table(table(tmp_path, HEADER + "L1,I1,nv\n\n , ,\nL2,I2,mel\n"), COLUMNS)
    assert list(found.index + 2) == [2, 5]


def test_a_short_line_has_empty_ends(tmp_path: Path) -> None:
    found = raw.read_table(table(tmp_path, HEADER + "L1,I1\nL2,I2,mel\n"), COLUMNS)
    assert list(found["dx"]) == ["", "mel"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable CSV"),
        (HEADER, "no rows below the header"),
        (HEADER + "\n\n", "no rows below the header"),
        ("lesion_id,image,dx\nL1,I1,nv\n", "no column image_id; it has lesion_id, image, dx"),
        ("lesion_id;image_id;dx\nL1;I1;nv\n", "no column lesion_id, image_id, dx; it has lesion_"),
        (HEADER + "L1,I1,nv\nL2,I2,mel,x\n", "not a readable CSV"),
        (HEADER + "L1,I1,nv,x\nL2,I2,mel,x\n", "more fields than the header"),
        (HEADER + '"L1,I1,nv\n', "not a readable CSV"),
        (HEADER.encode() + b"\xe4,I1,nv\n", "not a readable CSV"),
        (HEADER.encode("utf-16"), "not a readable CSV"),
        (encoded(colours(0)), "not a readable CSV"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line_with_its_name(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    path = table(tmp_path, text)
    with pytest.raises(UserError) as error:
        raw.read_table(path, COLUMNS)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_missing_table_names_the_columns_it_should_have(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t.csv: not there; .* lesion_id, image_id, dx"):
        raw.read_table(tmp_path / "t.csv", COLUMNS)


def test_images_are_found_by_stem_in_the_folders_alone(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.JPG", "b/3.jpeg", "b/4.png", "b/5.txt", "b/deep/6.jpg", "7.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a" / "8.jpg").mkdir()
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "none"]
    found = raw.index_images(folders, (".jpg", ".jpeg"))
    assert {stem: str(path.relative_to(tmp_path)) for stem, path in found.items()} == {
        "1": "a/1.jpg",
        "2": "a/2.JPG",
        "3": "b/3.jpeg",
    }


def test_two_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="a second file for 1") as error:
        raw.index_images([tmp_path / "a", tmp_path / "b"], (".jpg",))
    assert str(tmp_path / "a" / "1.jpg") in str(error.value)
    assert str(tmp_path / "b" / "1.jpg") in str(error.value)


def test_folders_without_an_image_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.jpg image in ") as error:
        raw.index_images([tmp_path, tmp_path / "images"], (".jpg",))
    assert f"{tmp_path}, {tmp_path / 'images'}" in str(error.value)


@pytest.mark.parametrize(
    "id_", ["../1", "/etc/passwd", "a/b", "..", ".1", "", "-x", "a\\b", "a\x00", "a\n", "é"]
)
def test_an_unsafe_id_is_rejected_even_when_a_file_has_it(id_: str) -> None:
    paths, rejects = raw.find_images([id_, "ok"], [2, 3], {id_: Path("x"), "ok": Path("ok.jpg")})
    assert paths == {3: Path("ok.jpg")}
    assert [(reject.line, reject.id) for reject in rejects] == [(2, id_)]
    assert rejects[0].reason.startswith("unsafe id")


def test_image_files_without_a_row_are_counted_aloud(caplog: pytest.LogCaptureFixture) -> None:
    raw.find_images(["a"], [2], {name: Path(name) for name in "abc"})
    assert "2 image files have no row in the table" in caplog.text


def test_doubled_and_unknown_ids_are_rejected_with_their_lines() -> None:
    images = {name: Path(name) for name in "abc"}
    paths, rejects = raw.find_images(["a", "b", "a", "z"], [2, 3, 4, 5], images)
    assert paths == {3: Path("b")}
    assert [(reject.line, reject.id, reject.reason) for reject in rejects] == [
        (2, "a", "id stands in lines 2, 4"),
        (4, "a", "id stands in lines 2, 4"),
        (5, "z", "no image file of this name"),
    ]


def load(content: bytes) -> tuple[np.ndarray, list[str]]:
    return raw.load_image(content, max_megapixels=LIMIT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_ordinary_image_is_given_as_it_is(kind: str) -> None:
    content = encoded(colours(1, 20, 30), kind)
    image, notes = load(content)
    assert image.dtype == np.uint8
    assert notes == []
    np.testing.assert_array_equal(image, pixels(content))
    if kind == "PNG":
        np.testing.assert_array_equal(image, colours(1, 20, 30))


def sixteen_bits(channels: int) -> bytes:
    shape = (8, 8, channels) if channels > 1 else (8, 8)
    deep = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    return bytes(cv2.imencode(".png", deep)[1].tobytes())


def cmyk() -> bytes:
    content = io.BytesIO()
    Image.fromarray(colours(1)).convert("CMYK").save(content, "JPEG")
    return content.getvalue()


def other_format(kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(colours(1)).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"lesion_id,image_id\n" * 50, "not a JPEG or PNG image"),
        (b"\xff\xd8\xff", "not a JPEG or PNG|damaged"),
        (encoded(colours(1, 64, 64))[: len(encoded(colours(1, 64, 64))) // 2], "truncated"),
        (encoded(colours(1, 64, 64))[:-2], "truncated"),
        (encoded(colours(1), "PNG")[:-20], "damaged or truncated"),
        (encoded(colours(1), "PNG")[:-12], "damaged or truncated"),
        (cmyk(), "CMYK"),
        (sixteen_bits(1), "more than 8 bits"),
        (sixteen_bits(3), "more than 8 bits"),
        (sixteen_bits(4), "more than 8 bits"),
        (other_format("GIF"), "not a JPEG or PNG"),
        (other_format("TIFF"), "not a JPEG or PNG"),
        (other_format("BMP"), "not a JPEG or PNG"),
    ],
    ids=["empty", "text", "three bytes", "half JPEG", "JPEG without end", "cut PNG",
         "PNG without end", "CMYK", "16-bit grey", "16-bit RGB", "16-bit RGBA", "GIF", "TIFF",
         "BMP"],
)  # fmt: skip
def test_an_unusable_image_has_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableImageError, match=reason):
        load(content)


def test_a_wrong_checksum_in_a_png_is_damage() -> None:
    content = bytearray(encoded(np.zeros((32, 32, 3), np.uint8), "PNG", compress_level=0))
    content[content.index(b"IDAT") + 100] ^= 0xFF
    with pytest.raises(UnusableImageError, match="damaged"):
        load(bytes(content))


def test_random_damage_never_ends_in_another_error() -> None:
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a lesion"
    wholes = [
        encoded(colours(3, 40, 30), exif=exif),
        encoded(colours(3, 40, 30), progressive=True),
        encoded(colours(3, 40, 30), "PNG"),
    ]
    refused = 0
    for turn in range(300):
        content = bytearray(wholes[turn % 3])
        for position in rng.integers(0, min(len(content), 600), 3):
            content[position] = rng.integers(0, 256)
        try:
            image, _ = load(bytes(content))
        except UnusableImageError:
            refused += 1
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
    assert 100 < refused < 300


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_becomes_rgb_and_is_noted(kind: str) -> None:
    grey = colours(2)[..., 0]
    image, notes = load(encoded(grey, kind))
    assert notes == ["grey"]
    assert image.shape == (*grey.shape, 3)
    assert np.abs(image.astype(int) - grey[..., np.newaxis]).max() <= (3 if kind == "JPEG" else 0)


def test_transparency_and_palettes_become_rgb_and_are_noted() -> None:
    picture = np.dstack([colours(2), np.full((16, 16), 77, np.uint8)])
    image, notes = load(encoded(picture, "PNG"))
    assert notes == ["transparency"]
    np.testing.assert_array_equal(image, picture[..., :3])
    content = io.BytesIO()
    palette = Image.fromarray(colours(2)).convert("P")
    palette.save(content, "PNG")
    image, notes = load(content.getvalue())
    assert notes == ["mode P"]
    np.testing.assert_array_equal(image, np.asarray(palette.convert("RGB")))


UPRIGHT = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),  # the camera stood on its side: turn clockwise
    7: lambda image: np.rot90(image, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_exif_rotation_is_undone(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = colours(4, 10, 14)
    image, notes = load(encoded(picture, "PNG", exif=exif))
    np.testing.assert_array_equal(image, UPRIGHT[orientation](picture))
    assert notes == ([] if orientation == 1 else ["EXIF rotation"])


def test_damaged_exif_is_no_harm() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a lesion on the left forearm, seen from above"
    content = encoded(colours(4), exif=exif)
    place = content.index(b"Exif\0\0") + 14
    broken = content[: place + 6] + struct.pack(">I", 9_999_999) + content[place + 10 :]
    assert broken != content
    image, _ = load(broken)
    np.testing.assert_array_equal(image, pixels(content))


def test_a_large_image_is_refused_by_its_header_alone() -> None:
    content = io.BytesIO()
    Image.new("L", (10_000, 6_000)).save(content, "JPEG")
    # Without its pixels, anything that decodes would call it truncated.
    with pytest.raises(UnusableImageError, match=r"60\.0 megapixels, more than 50"):
        load(content.getvalue()[:1000])
    assert raw.load_image(encoded(colours(0, 100, 100)), max_megapixels=0.01)[0].shape[0] == 100
    with pytest.raises(UnusableImageError, match="megapixels"):
        raw.load_image(encoded(colours(0, 100, 101)), max_megapixels=0.01)


def test_an_image_of_absurd_size_is_refused() -> None:
    header = bytearray(encoded(colours(0), "PNG"))
    header[16:24] = struct.pack(">II", 60_000, 60_000)
    header[29:33] = struct.pack(">I", zlib.crc32(bytes(header[12:29])))
    with pytest.raises(UnusableImageError, match="more than 50 megapixels"):
        load(bytes(header))


def png_without_pixels() -> bytes:
    content = encoded(colours(0), "PNG")
    start = content.index(b"IDAT") - 4
    end = content.index(b"IEND") - 4
    return content[:start] + content[end:]


def with_exif(exif: bytes, kind: str = "JPEG") -> bytes:
    return encoded(colours(4, 10, 14), kind, exif=exif)


def tiff(tag: int, kind: int, value: int, orientation: int = 6) -> bytes:
    """EXIF of two entries, the second of any type."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, orientation) + struct.pack(
        "<HHII", tag, kind, 1, value
    )
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)


def test_a_png_without_pixels_is_refused() -> None:
    with pytest.raises(UnusableImageError, match="damaged"):
        load(png_without_pixels())


@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [(0x010F, 11, 7), (0x0128, 4, 100_000), (0x011A, 2, 7), (0x0128, 12, 3), (0x8769, 4, 9999)],
)
def test_of_exif_only_the_orientation_is_read(tag: int, kind: int, value: int) -> None:
    image, notes = load(with_exif(tiff(tag, kind, value)))
    assert notes == ["EXIF rotation"]
    assert image.shape == (14, 10, 3)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_is_none_turns_nothing(orientation: int) -> None:
    image, notes = load(with_exif(tiff(0x0128, 3, 2, orientation)))
    assert (image.shape, notes) == ((10, 14, 3), [])


def test_exif_of_another_kind_in_a_png_is_no_harm() -> None:
    big = b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + bytes(16)
    image, notes = load(with_exif(big, "PNG"))
    assert (image.shape, notes) == ((10, 14, 3), [])


def test_whatever_a_decoder_raises_is_the_image_s_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (IndexError("i"), TypeError("t"), struct.error("s"), AttributeError("a")):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(images, "_decode", fail)
        with pytest.raises(UnusableImageError, match=type(error).__name__):
            load(b"x")


def hurt(how: str) -> bytes:
    content = encoded(colours(5, 40, 48))
    start = content.index(b"\xff\xda") + 14
    middle = start + (len(content) - start) // 3
    return {
        "zeros": content[:middle] + bytes(len(content) - middle - 2) + content[-2:],
        "zeros to the end": content[:middle] + bytes(len(content) - middle),
        "no end marker": content[:-2] + bytes(2),
        "cut": content[:middle],
        "extra": content[:-2] + b"\x11" * 245 + content[-2:],
        "behind": content + b"\x11" * 245,
        "whole": content,
    }[how]


@pytest.mark.parametrize("how", ["zeros", "zeros to the end", "no end marker", "cut"])
def test_a_jpeg_half_lost_is_refused(how: str) -> None:
    with pytest.raises(UnusableImageError, match="damaged or truncated"):
        load(hurt(how))


@pytest.mark.parametrize("how", ["extra", "behind"])
def test_bytes_besides_the_pixels_are_no_harm(how: str) -> None:
    np.testing.assert_array_equal(load(hurt(how))[0], load(hurt("whole"))[0])


def test_a_webp_under_another_name_is_read_and_noted() -> None:
    image, notes = load(other_format("WEBP"))
    assert (image.shape, notes) == ((16, 16, 3), ["WebP"])
