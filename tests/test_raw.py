"""Tables and image files: what is taken, what is refused and for which reason."""

import io
import os
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_helpers import colours, encoded, pixels
from PIL import Image

from attnrobust.data import images, jpegs, raw
from attnrobust.data.images import UnusableImageError
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
        "4": "b/4.png",  # no suffix of this data set's, but an image
        "5": "b/5.txt",  # for the reason to be said
    }


def test_of_several_files_of_a_name_the_data_sets_own_is_taken(tmp_path: Path) -> None:
    for name in ("1.png", "1.jpg", "1.tif", "1.txt", "2.tif", "2.txt", "3.dcm"):
        (tmp_path / name).write_bytes(b"x")
    found = raw.index_images([tmp_path], (".jpg",))
    assert {stem: path.name for stem, path in found.items()} == {
        "1": "1.jpg",
        "2": "2.tif",
        "3": "3.dcm",
    }
    (tmp_path / "2.bmp").write_bytes(b"y")
    with pytest.raises(UserError, match="a second file for 2"):
        raw.index_images([tmp_path], (".jpg",))


def test_files_of_one_size_and_time_are_not_alike_for_that(tmp_path: Path) -> None:
    """An archive gives all its files one time, and bitmaps of one format have one size."""
    for folder, content in (("a", b"left"), ("b", b"rite")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.bmp").write_bytes(content)
        os.utime(tmp_path / folder / "1.bmp", (1, 1))
    with pytest.raises(UserError, match="a second file for 1"):
        raw.index_images([tmp_path / "a", tmp_path / "b"], (".bmp",))
    (tmp_path / "b" / "1.bmp").write_bytes(b"left")
    assert list(raw.index_images([tmp_path / "a", tmp_path / "b"], (".bmp",))) == ["1"]


def test_what_is_there_instead_is_named(tmp_path: Path) -> None:
    (tmp_path / "a_left.nii").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no \.jpg image in .*; there are 1 \.nii files; \.jpg, "):
        raw.images_in(tmp_path, [""], (".jpg",))
    (tmp_path / "b_left.png").write_bytes(b"x")
    found = raw.images_in(tmp_path, [""], (".jpg",))
    paths, rejects = raw.find_images(
        ["a_left", "b_left", "c_left", "b_left.jpg"], [2, 3, 4, 5], found
    )
    assert paths == {3: tmp_path / "b_left.png"}
    assert all(reject.missing for reject in rejects)
    assert [reject.reason for reject in rejects] == [
        f"a_left.nii is there; {', '.join(images.SUFFIXES)} are read",
        "no image file of this name",
        "no image file of this name; b_left.png is there",
    ]


def test_links_are_followed_and_one_to_nothing_is_named(tmp_path: Path) -> None:
    folder, outside = tmp_path / "images", tmp_path / "elsewhere"
    folder.mkdir()
    outside.mkdir()
    (outside / "x.jpg").write_bytes(b"x")
    (folder / "1.jpg").symlink_to(outside / "x.jpg")
    (folder / "2.jpg").symlink_to("gone.jpg")
    (folder / "3.jpg").symlink_to(folder / "3.jpg")  # a circle
    (folder / "deep").symlink_to(folder)
    (folder / "deep.jpg").symlink_to(outside)  # a folder, whatever its name
    found = raw.images_in(tmp_path, ["images"], (".jpg",))
    paths, rejects = raw.find_images(["1", "2", "3", "deep"], [2, 3, 4, 5], found)
    assert paths == {2: folder / "1.jpg"}
    assert [reject.reason for reject in rejects] == [
        "2.jpg is a link to gone.jpg, where nothing is",
        f"3.jpg is a link to {folder / '3.jpg'}, where nothing is",
        "no image file of this name",
    ]


def test_two_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(name.encode())
    with pytest.raises(UserError, match="a second file for 1") as error:
        raw.index_images([tmp_path / "a", tmp_path / "b"], (".jpg",))
    assert str(tmp_path / "a" / "1.jpg") in str(error.value)
    assert str(tmp_path / "b" / "1.jpg") in str(error.value)
    shutil.copy(tmp_path / "a" / "1.jpg", tmp_path / "b" / "1.jpg")
    found = raw.index_images([tmp_path / "a", tmp_path / "b"], (".jpg",))
    assert found == {"1": tmp_path / "a" / "1.jpg"}


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
    raw.find_images(["a"], [2], {name: Path(f"{name}.jpg") for name in ("a", "b", "c")})
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
    return images.load_image(content, max_megapixels=LIMIT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_ordinary_image_is_given_as_it_is(kind: str) -> None:
    content = encoded(colours(1, 20, 30), kind)
    image, notes = load(content)
    assert image.dtype == np.uint8
    assert notes == []
    np.testing.assert_array_equal(image, pixels(content))
    if kind == "PNG":
        np.testing.assert_array_equal(image, colours(1, 20, 30))


def sixteen_bits(channels: int, suffix: str = ".png") -> bytes:
    shape = (8, 8, channels) if channels > 1 else (8, 8)
    deep = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    return bytes(cv2.imencode(suffix, deep)[1].tobytes())


def cmyk() -> bytes:
    content = io.BytesIO()
    Image.fromarray(colours(1)).convert("CMYK").save(content, "JPEG")
    return content.getvalue()


def pages(kind: str) -> bytes:
    content = io.BytesIO()
    first, *others = (Image.fromarray(colours(seed)) for seed in range(3))
    first.save(content, kind, save_all=True, append_images=others)
    return content.getvalue()


def other_format(kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(colours(1)).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"lesion_id,image_id\n" * 50, "^not a JPEG, PNG, TIFF, BMP, WebP, PPM or DICOM image$"),
        (b"\xff\xd8\xff", "not a JPEG|damaged"),
        (encoded(colours(1, 64, 64))[: len(encoded(colours(1, 64, 64))) // 2], "truncated"),
        (encoded(colours(1, 64, 64))[:-2], "truncated"),
        (encoded(colours(1), "PNG")[:-20], "damaged or truncated"),
        (encoded(colours(1), "PNG")[:-12], "damaged or truncated"),
        (cmyk(), "CMYK"),
        (sixteen_bits(1), "more than 8 bits"),
        (sixteen_bits(3), "more than 8 bits"),
        (sixteen_bits(4), "more than 8 bits"),
        (other_format("GIF"), "^is a GIF; expected a JPEG, PNG, "),
        (bytes(128) + b"DICM" + bytes(99), "^DICOM without pixel data"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "^is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "^is a web page"),
        (other_format("TIFF")[:-300], "truncated"),
        (other_format("BMP")[:-300], "truncated"),
        (other_format("PPM")[:-300], "damaged or truncated"),
        (other_format("WEBP")[:-30], "not a JPEG|damaged or truncated"),
        (b"P6 8 8 65535\n" + bytes(384), "more than 8 bits"),
        (b"P5 8 8 1023\n" + bytes(128), "more than 8 bits"),
        (sixteen_bits(3, ".tiff"), "more than 8 bits"),
        (sixteen_bits(1, ".tiff"), "more than 8 bits"),
        (pages("TIFF"), "3 pages or frames"),
        (pages("WEBP"), "3 pages or frames"),
    ],
    ids=[
        "empty",
        "text",
        "three bytes",
        "half JPEG",
        "JPEG without end",
        "cut PNG",
        "PNG without end",
        "CMYK",
        "16-bit grey",
        "16-bit RGB",
        "16-bit RGBA",
        "GIF",
        "DICOM",
        "Git LFS",
        "HTML",
        "cut TIFF",
        "cut BMP",
        "cut PPM",
        "cut WebP",
        "16-bit PPM",
        "10-bit PGM",
        "16-bit TIFF",
        "16-bit grey TIFF",
        "TIFF of pages",
        "moving WebP",
    ],
)
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
    assert images.load_image(encoded(colours(0, 100, 100)), max_megapixels=0.01)[0].shape[0] == 100
    with pytest.raises(UnusableImageError, match="megapixels"):
        images.load_image(encoded(colours(0, 100, 101)), max_megapixels=0.01)


def test_the_limit_is_ours_alone() -> None:
    """Pillow's own, which knows nothing of --max-megapixels, ends at 179 megapixels."""
    content = io.BytesIO()
    Image.new("1", (14_000, 13_000)).save(content, "PNG")
    with pytest.raises(UnusableImageError, match=r"182\.0 megapixels, more than 100"):
        images.load_image(content.getvalue(), max_megapixels=100)


def test_an_image_of_absurd_size_is_refused() -> None:
    header = bytearray(encoded(colours(0), "PNG"))
    header[16:24] = struct.pack(">II", 60_000, 60_000)
    header[29:33] = struct.pack(">I", zlib.crc32(bytes(header[12:29])))
    with pytest.raises(UnusableImageError, match=r"3600\.0 megapixels, more than 50"):
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


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "BMP", "PPM"])
def test_other_formats_are_read_whatever_their_name_and_noted(kind: str) -> None:
    content = other_format(kind)
    image, notes = load(content)
    assert notes == ["WebP" if kind == "WEBP" else kind]
    if images.is_lossless(content):
        np.testing.assert_array_equal(image, colours(1))
    else:
        assert kind == "WEBP"
        assert image.shape == (16, 16, 3)


def test_a_turned_tiff_is_turned_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image, notes = load(encoded(colours(4, 10, 14), "TIFF", exif=exif))
    np.testing.assert_array_equal(image, UPRIGHT[6](colours(4, 10, 14)))
    assert notes == ["EXIF rotation", "TIFF"]


def photo(seed: int, **settings: object) -> tuple[bytes, int]:
    """A JPEG with pixels everywhere, and where they begin."""
    content = encoded(colours(seed, 96, 96) // 2 + noise(seed), **{"quality": 75, **settings})
    return content, content.rindex(b"\xff\xda") + 14


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 90, (96, 96, 3), np.uint8)


def without(content: bytes, start: int, count: int, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(start, len(content) - count - 40))
    return content[:place] + content[place + count :]


@pytest.mark.parametrize(
    "settings",
    [{}, {"progressive": True}, {"restart_marker_blocks": 8}, {"subsampling": 2}],
    ids=["plain", "progressive", "restarts", "subsampled"],
)
def test_a_jpeg_without_some_of_its_bytes_is_refused(settings: dict[str, object]) -> None:
    rng, found = np.random.default_rng(0), []
    for seed in range(12):
        lost = without(*photo(seed, **settings), 600, rng)
        found.append(bool(jpegs.complaint(lost)))
    assert all(found)


def test_what_a_loss_leaves_over_is_no_filling() -> None:
    rng, said = np.random.default_rng(1), []
    for seed in range(40):
        whole, start = photo(seed, subsampling=2)
        assert not jpegs.complaint(whole)
        said.append(jpegs.complaint(without(whole, start, 20, rng)))
    assert sum("left over: others are lost" in words for words in said) >= 5


@pytest.mark.parametrize("count", [3, 20, 245, 3000])
def test_any_bytes_before_the_end_marker_are_no_harm(count: int) -> None:
    rng = np.random.default_rng(count)
    for seed in range(5):
        whole, _ = photo(seed)
        extra = rng.integers(1, 255, count, np.uint8).tobytes()
        np.testing.assert_array_equal(load(whole[:-2] + extra + whole[-2:])[0], load(whole)[0])


def test_a_phones_jpeg_with_a_second_picture_is_read_and_checked() -> None:
    content = io.BytesIO()
    pictures = [Image.fromarray(colours(seed, 64, 64)) for seed in range(2)]
    pictures[0].save(content, "MPO", save_all=True, append_images=pictures[1:], quality=95)
    whole = content.getvalue()
    assert np.abs(load(whole)[0].astype(int) - colours(0, 64, 64)).mean() < 5
    start = whole.index(b"\xff\xda") + 14
    half = whole[: start + 100] + bytes(500) + whole[start + 600 :]
    with pytest.raises(UnusableImageError, match="damaged or truncated"):
        load(half)
