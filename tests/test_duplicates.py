"""Near-duplicates: what counts as one, that all are found, and that leaks are said aloud."""

import csv
import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_helpers import (
    command,
    encoded,
    image_file,
    make_raw,
    pixels,
    read_table,
    reject_reasons,
    stored,
    write_records,
)

from attnrobust.data import duplicates, shards


def photo(seed: int, height: int = 150, width: int = 200) -> np.ndarray:
    """A picture with coarse and fine structure."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(
            rng.integers(0, 128, (side, side, 3), np.uint8),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        for side in (4, 24)
    ]
    return np.asarray(layers[0] + layers[1] // 2)


def differ(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


COPIES = {
    "quality 40": lambda image: pixels(encoded(image, quality=40, subsampling=2)),
    "half": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "square": lambda image: cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA),
    "larger": lambda image: cv2.resize(image, (900, 700), interpolation=cv2.INTER_CUBIC),
    "darker": lambda image: (image * 0.9).astype(np.uint8),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_near_and_another_picture_is_not(kind: str) -> None:
    marks = [duplicates.fingerprint(photo(seed)) for seed in range(8)]
    assert all(len(mark) == 64 for mark in marks)
    copies = [duplicates.fingerprint(COPIES[kind](photo(seed))) for seed in range(8)]
    for one, mark in enumerate(marks):
        for other, copy in enumerate(copies):
            assert (differ(mark, copy) <= duplicates.NEAR) == (one == other)


def test_pictures_that_show_nothing_are_not_alike() -> None:
    plain = [duplicates.fingerprint(np.full((9, 5, 3), value, np.uint8)) for value in (0, 200)]
    assert duplicates.pairs(dict(zip("ab", plain, strict=True)), duplicates.NEAR) == []


def near(count: int, rng: np.random.Generator) -> dict[str, str]:
    """Fingerprints of which many are few bits apart."""
    seeds = rng.integers(0, 2, (4, 256), np.uint8)
    found = {}
    for number in range(count):
        bits = seeds[number % 4].copy()
        bits[rng.integers(0, 256, rng.integers(0, 30))] ^= 1
        found[f"i{number:03d}"] = np.packbits(bits).tobytes().hex()
    return found


@pytest.mark.parametrize("block", [1, 100, 2**24])
@pytest.mark.parametrize("most", [0, 20, 64])
def test_every_pair_is_found_whatever_fits_in_memory(
    block: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", block)
    marks = near(60, np.random.default_rng(most))
    expected = {
        (one, other, differ(marks[one], marks[other]))
        for one in marks
        for other in marks
        if one < other and differ(marks[one], marks[other]) <= most
    }
    found = duplicates.pairs(marks, most)
    assert set(found) == expected
    assert len(found) == len(expected)
    assert [pair[2] for pair in found] == sorted(pair[2] for pair in found)
    assert most == 0 or len(found) > 50
    assert duplicates.pairs({}, most) == []


def test_a_picture_under_other_ids_is_listed_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    raw = make_raw(tmp_path / "raw")
    table = read_table(raw)
    copied = [row["image_id"] for row in table[1::5]]  # of seven lesions
    for number, id_ in enumerate(copied):
        image_file(raw, id_).write_bytes(encoded(photo(0), quality=60 + 5 * number))
    dataset = write_records(raw, tmp_path / "out")
    split_of = {id_: example["split"] for id_, example in stored(dataset).items()}
    with (tmp_path / "out" / "duplicates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {frozenset((row["id"], row["other"])) for row in rows} == {
        frozenset((one, other)) for one in copied for other in copied if one != other
    }
    for row in rows:
        assert int(row["distance"]) <= duplicates.NEAR
        assert (row["split"], row["other_split"]) == (split_of[row["id"]], split_of[row["other"]])
    across = sum(row["split"] != row["other_split"] for row in rows)
    assert across > 0
    assert "21 pairs of images look alike (at most 20 of 256 bits of their hashes" in caplog.text
    assert f"warning: {across} of these pairs stand in two splits" in caplog.text
    described = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert described["near_duplicates"] == {"bits": 20, "pairs": 21, "across_splits": across}
    assert reject_reasons(tmp_path / "out" / "rejects.csv") == {}
    # Another threshold lists other pairs of the same records, and replaces what is ours.
    again = write_records(raw, tmp_path / "out", near_duplicates=0)
    assert again.hash == dataset.hash
    assert (
        json.loads((tmp_path / "out" / "dataset.json").read_text())["near_duplicates"]["bits"] == 0
    )


def with_copies(folder: Path) -> dict[str, list[str]]:
    """A raw folder in which lesions share a picture, losslessly encoded anew; ids by picture."""
    raw = make_raw(folder, lesions=6)
    table = read_table(raw)
    by_lesion = {row["lesion_id"]: row["image_id"] for row in table}
    pairs = {
        # A PNG and a BMP of one class, and of two.
        "two": [by_lesion["HAM_03"], by_lesion["HAM_04"]],
        "labels": [by_lesion["HAM_13"], by_lesion["HAM_24"]],
        # Three lesions by two pictures: the second has both.
        "chain": ["ISIC_0300", by_lesion["HAM_33"]],
        "end": ["ISIC_0301", by_lesion["HAM_34"]],
    }
    for number, ids in enumerate(pairs.values()):
        for id_, kind in zip(ids, ("PNG", "BMP"), strict=True):
            old = image_file(raw, id_)
            old.unlink()
            old.with_suffix(f".{kind.lower()}").write_bytes(encoded(photo(90 + number), kind))
    return pairs


def test_exact_copies_in_other_files_stay_in_one_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For any seed of the split, and no other image's content changes by it."""
    caplog.set_level(logging.INFO)
    pairs = with_copies(tmp_path / "raw")
    for seed in range(4):
        out = tmp_path / f"out-{seed}"
        found = stored(write_records(tmp_path / "raw", out, seed=seed))
        assert len(found) == 7 * 7
        for ids in (pairs["two"], pairs["labels"], pairs["chain"] + pairs["end"]):
            assert len({found[id_]["split"] for id_ in ids}) == 1
            assert len({found[id_]["group"] for id_ in ids}) == 1
        assert len({example["group"] for example in found.values()}) == 7 * 6 - 4
        described = json.loads((out / "dataset.json").read_text())
        assert described["exact_copies"] == 8
        files = {
            shard["file"] for split in described["splits"].values() for shard in split["shards"]
        }
        assert {path.name for path in out.glob("*.tfrecord")} == files
    assert "8 images are pixel by pixel another's, in other files" in caplog.text
    one, other = pairs["labels"]
    assert (
        f"have different labels, and one of them is wrong: {one} (bcc), {other} (bkl)"
        in caplog.text
    )


def test_a_run_cut_off_between_the_copies_and_the_end_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_copies(tmp_path / "raw")
    whole = write_records(tmp_path / "raw", tmp_path / "whole")
    written: list[str] = []
    real = shards.write_shard

    def cut(partial: Path, file: str, *rest: object) -> None:
        if (partial / "parts" / "pixels.json").is_file():  # written once, and now what changes
            written.append(file)
        if len(written) > 3:
            raise KeyboardInterrupt
        real(partial, file, *rest)

    monkeypatch.setattr(shards, "write_shard", cut)
    with pytest.raises(KeyboardInterrupt):
        write_records(tmp_path / "raw", tmp_path / "out")
    kept = {path.name for path in (tmp_path / "out.partial").glob("*.tfrecord")}
    assert len(kept) >= 3
    monkeypatch.setattr(shards, "write_shard", real)
    assert write_records(tmp_path / "raw", tmp_path / "out").hash == whole.hash
    assert kept <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("bits", ["-1", "65"])
def test_a_threshold_that_is_none_is_one_line(
    bits: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_raw(tmp_path / "raw", lesions=1)
    assert command(raw, tmp_path / "out", "--near-duplicates", bits) == 1
    expected = f"error: --near-duplicates {bits}: expected 0 to 64 bits"
    assert capsys.readouterr().err.strip() == expected
