"""Image files damaged at random: each ends as a record or as a reject, and nothing else happens."""

import csv
import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from data_helpers import command, contents, stored
from PIL import Image

from attnrobust.data import records

SECONDS = 30
IMAGES = 100
Change = Callable[[bytes, np.random.Generator], bytes]


def drawn(rng: np.random.Generator) -> bytes:
    """A file as cameras, scanners and programs write them."""
    height, width = rng.integers(8, 90, 2)
    few = rng.integers(0, 256, (5, 6, 3), np.uint8)
    image = cv2.resize(few, (int(width), int(height)), interpolation=cv2.INTER_CUBIC)
    image = np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = int(rng.integers(0, 10)), "a camera"
    mode = str(rng.choice(["RGB", "RGB", "RGB", "L", "P", "RGBA", "CMYK"]))
    picture = Image.fromarray(image).convert(mode)
    content = io.BytesIO()
    if mode in ("RGB", "L", "CMYK") and rng.random() < 0.6:
        picture.save(
            content,
            "JPEG",
            quality=int(rng.integers(30, 96)),
            exif=exif,
            progressive=bool(rng.integers(0, 2)),
            subsampling=int(rng.integers(0, 3)),
            restart_marker_blocks=int(rng.choice([0, 4])),
        )
    elif mode == "CMYK":
        picture.save(content, "TIFF")
    else:
        kinds = ["PNG", "PNG", "PNG", "TIFF", "WEBP"] + ["BMP", "PPM"] * (mode in ("RGB", "L"))
        picture.save(content, str(rng.choice(kinds)))
    return content.getvalue()


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, 8)):
        changed[place] = rng.integers(0, 256)
    return bytes(changed)


def flip_header(content: bytes, rng: np.random.Generator) -> bytes:
    return flip(content[:200], rng) + content[200:]


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content))]


def lose(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(0, len(content), 2))
    return content[:first] + content[last:]


def blank(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(0, len(content), 2))
    return content[:first] + bytes(last - first) + content[last:]


def add(content: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(0, len(content))
    return content[:place] + rng.bytes(int(rng.integers(1, 300))) + content[place:]


def size(content: bytes, rng: np.random.Generator) -> bytes:
    """Another height or width in the header of a PNG or JPEG."""
    place = 16 if content.startswith(b"\x89PNG") else content.find(b"\xff\xc0") + 5
    number = int(rng.choice([0, 1, 255, 5_000, 60_000])).to_bytes(4, "big")
    return content[:place] + number[-2:] + content[place + 2 :]


def splice(content: bytes, rng: np.random.Generator) -> bytes:
    other = drawn(rng)
    return content[: rng.integers(0, len(content))] + other[rng.integers(0, len(other)) :]


def whole(content: bytes, rng: np.random.Generator) -> bytes:
    return content


CHANGES: list[Change] = [flip, flip_header, cut, lose, blank, add, size, splice, whole]


def make(folder: Path, rng: np.random.Generator) -> set[str]:
    """A raw folder of damaged images; returns its ids."""
    (folder / "images").mkdir(parents=True)
    lines, ids = ["lesion_id,image_id,dx"], set()
    for number in range(IMAGES):
        id_ = f"ISIC_{number:04d}"
        change = CHANGES[rng.integers(0, len(CHANGES))]
        (folder / "images" / f"{id_}.jpg").write_bytes(change(drawn(rng), rng))
        lines.append(f"L{number},{id_},{('nv', 'mel', 'bkl')[number % 3]}")
        ids.add(id_)
    (folder / "HAM10000_metadata.csv").write_text("\n".join(lines))
    return ids


def options(rng: np.random.Generator) -> list[str]:
    fit = str(rng.choice(["stretch", "crop", "pad", "disc"]))
    filters = ["none", "gaussian_high_pass"] + ["graham"] * (fit == "disc")
    sizes = [8, 16, 33] + [0] * (fit != "disc")
    return [
        "--fit",
        fit,
        "--filter",
        str(rng.choice(filters)),
        "--size",
        str(rng.choice(sizes)),
        "--max-rejects",
        "1",
    ]


@pytest.mark.slow
def test_every_damaged_image_is_a_record_or_a_reject(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    began, turn, taken, refused = time.process_time(), 0, 0, 0
    while turn < 4 or time.process_time() - began < SECONDS:
        rng = np.random.default_rng(turn)
        raw, out = tmp_path / f"raw-{turn}", tmp_path / f"out-{turn}"
        ids, before = make(raw, rng), contents(raw)
        words = options(rng)
        code = command(raw, out, *words)
        said = capfd.readouterr()
        assert "Traceback" not in said.out + said.err, (turn, words)
        assert contents(raw) == before, (turn, words)
        if code:  # none usable, as with a filter that needs an eye
            assert code == 1, (turn, words)
            assert re.fullmatch(r"error: ham10000: no usable image among 100 rows\n", said.err), (
                turn,
                words,
                said.err,
            )
            assert os.listdir(tmp_path / f"out-{turn}.partial"), (turn, words)
        else:
            found, listed = records.load(out), out / "rejects.csv"
            kept = stored(found)
            with listed.open(newline="") as file:
                rejects = {row["id"]: row["reason"] for row in csv.DictReader(file)}
            assert kept.keys() | rejects.keys() == ids, (turn, words)
            assert not kept.keys() & rejects.keys(), (turn, words)
            for id_, reason in rejects.items():
                assert reason.strip(), (turn, words, id_)
                assert len(reason.splitlines()) == 1, (turn, words, id_, reason)
            for id_, example in kept.items():
                image = tf.io.decode_jpeg(example["image"], channels=3)
                assert image.shape[2] == 3, (turn, words, id_)
            taken, refused = taken + len(kept), refused + len(rejects)
        expected = {f"raw-{turn}"}
        turn += 1
        there = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
        assert expected <= there
        assert all(re.fullmatch(r"(raw|out)-\d+(\.partial)?(\.lock)?", name) for name in there), (
            there
        )
    assert taken > 50
    assert refused > 50


def test_drawn_images_are_of_every_kind() -> None:
    rng = np.random.default_rng(0)
    kinds = {Image.open(io.BytesIO(drawn(rng))).format for _ in range(60)}
    assert kinds == {"JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM"}
