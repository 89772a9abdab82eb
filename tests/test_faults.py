"""What goes wrong outside the program ends in one clear line, and earlier records stay."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from data_helpers import (
    SIZE,
    colours,
    command,
    contents,
    encoded,
    image_file,
    make_raw,
    pixels,
    read_table,
    reject_reasons,
    shard_files,
    stored,
    write_records,
    write_table,
)
from PIL import Image

from attnrobust import config
from attnrobust.data import inputs, records
from attnrobust.disk.runs import Run
from attnrobust.run import main
from attnrobust.stages import pipeline
from tfrecords import ham10000

PROJECT = Path(__file__).parents[1]
BAD = "ISIC_0300"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """35 images with masks; not to be changed."""
    return make_raw(tmp_path_factory.mktemp("raw") / "ham", masks=True)


@pytest.fixture(scope="module")
def older(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of it, split by another seed."""
    return write_records(whole, tmp_path_factory.mktemp("records") / "x", seed=9).root


@pytest.fixture
def raw(whole: Path, tmp_path: Path) -> Path:
    """A copy of the raw folder, to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "raw"))


@pytest.fixture
def out(older: Path, tmp_path: Path) -> Path:
    """Where records go; older ones are there."""
    return Path(shutil.copytree(older, tmp_path / "out"))


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What stderr holds, which is one line; stdout holds nothing."""
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith("error: ")
    assert stderr.endswith("\n")
    assert stderr.count("\n") == 1
    return stderr


def jpeg(image: Image.Image, **settings: object) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", **settings)
    return content.getvalue()


def deep_png(*shape: int) -> bytes:
    deep = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    return bytes(cv2.imencode(".png", deep)[1].tobytes())


NORMAL = encoded(colours(7))
BAD_IMAGES = {
    "missing": (None, "no image file of this name"),
    "zero bytes": (b"", "zero bytes"),
    "cut in half": (NORMAL[: len(NORMAL) // 2], "damaged or truncated"),
    "a text file": (b"Not found\n" * 30, "not a JPEG, PNG, TIFF"),
    "CMYK": (jpeg(Image.fromarray(colours(7)).convert("CMYK")), "CMYK, expected RGB or grey"),
    "16-bit grey PNG": (deep_png(20, 20), "more than 8 bits a channel"),
    "16-bit RGB PNG": (deep_png(20, 20, 3), "more than 8 bits a channel"),
    "60 megapixels": (jpeg(Image.new("L", (10_000, 6_000))), "60.0 megapixels, more than 50"),
}


def test_what_is_no_file_or_too_large_a_one_is_not_read(
    raw: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device, large = image_file(raw, "ISIC_0300"), image_file(raw, "ISIC_0301")
    for file in (device, large):
        file.unlink()
    device.symlink_to("/dev/null")  # as well as /dev/zero, which never ends
    with large.open("wb") as hole:
        hole.truncate(20_000_000)
    assert command(raw, out, "--max-rejects", "0.1", "--max-megapixels", "1") == 0
    assert capsys.readouterr().err == ""
    assert reject_reasons(out / "rejects.csv") == {
        "ISIC_0300": "a device or a pipe, expected a file",
        "ISIC_0301": "a file of 20 MB, more than 1 megapixels (--max-megapixels) of 16 bytes",
    }


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_rejected_with_its_reason(
    raw: Path, out: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, reason = BAD_IMAGES[kind]
    path = image_file(raw, BAD)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    before = contents(out)
    assert command(raw, out) == 1  # by default one of a hundred may be bad, not one of 35
    line = one_line(capsys)
    what = "have no image file" if kind == "missing" else "cannot be used"
    assert re.search(f"1 of 35 rows( with an image file)? {what}, more than --max-rejects", line)
    assert f"({BAD}): {reason}" in line
    assert contents(out) == before
    listed = reject_reasons(out.with_name("out.rejects.csv"))
    assert listed.keys() == {BAD}
    assert listed[BAD].startswith(reason)

    assert command(raw, out, "--max-rejects", "0.05") == 0
    stdout, stderr = capsys.readouterr()
    assert "1 rows rejected, with reasons in" in stdout
    assert stderr == ""
    assert reject_reasons(out / "rejects.csv") == listed
    expected = {row["image_id"] for row in read_table(raw)} - {BAD}
    assert stored(records.load(out)).keys() == expected


def test_a_damaged_mask_is_rejected_with_its_reason(
    raw: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = raw / ham10000.MASKS / f"{BAD}_segmentation.png"
    path.write_bytes(path.read_bytes()[:-30])
    before = contents(out)
    assert command(raw, out) == 1
    assert f"({BAD}): mask: damaged or truncated" in one_line(capsys)
    assert contents(out) == before


def test_grey_and_rotated_jpegs_are_taken_as_upright_rgb_and_counted(
    raw: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = jpeg(Image.fromarray(colours(1)[..., 0]), quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = colours(2)
    lying = encoded(np.ascontiguousarray(np.rot90(upright)), exif=exif)
    image_file(raw, "ISIC_0000").write_bytes(grey)
    image_file(raw, "ISIC_0001").write_bytes(lying)
    assert command(raw, out) == 0
    said = capsys.readouterr().out
    assert "1 images with grey, stored upright as 8-bit RGB" in said
    assert "1 images with EXIF rotation, stored upright as 8-bit RGB" in said
    dataset = records.load(out)
    found = stored(dataset)
    plain = Image.open(io.BytesIO(found["ISIC_0000"]["image"]))
    assert plain.mode == "RGB"
    grey_pixels = colours(1)[..., :1].astype(int)
    assert np.abs(pixels(found["ISIC_0000"]["image"]) - grey_pixels).max() <= 6
    turned = Image.open(io.BytesIO(found["ISIC_0001"]["image"]))
    assert turned.getexif().get(0x0112, 1) == 1
    assert np.abs(np.asarray(turned).astype(int) - upright).max() <= 12
    split = found["ISIC_0001"]["split"]
    data = config.Data(dataset="ham10000", image_size=SIZE)
    seen = inputs.read(dataset, split, ["ISIC_0001"], data=data)["image"][0]
    assert np.abs(seen - upright / 255).max() <= 13 / 255


@pytest.mark.parametrize("relative", [True, False])
def test_an_id_that_leads_outside_is_rejected_and_its_file_is_not_opened(
    raw: Path, out: Path, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = raw.parent / "outside.jpg"
    outside.write_bytes(encoded(colours(99)))
    id_ = "../outside" if relative else str(outside.with_suffix(""))
    assert (raw / f"{id_}.jpg").samefile(outside)
    table = read_table(raw)
    table[5]["image_id"] = id_
    write_table(raw, table)
    opened: list[Path] = []
    whole_open = Path.open

    def watched(self: Path, *arguments: object, **settings: object) -> object:
        opened.append(self.resolve())
        return whole_open(self, *arguments, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", watched)
    assert command(raw, out, "--max-rejects", "0.05") == 0
    monkeypatch.undo()
    assert any(path.parent == raw / "HAM10000_images_part_1" for path in opened)
    assert outside not in opened
    assert reject_reasons(out / "rejects.csv")[id_].startswith("unsafe id")
    found = stored(records.load(out))
    assert len(found) == 34
    assert outside.read_bytes() not in [example["image"] for example in found.values()]


def test_doubled_ids_are_both_rejected(raw: Path, out: Path) -> None:
    table = read_table(raw)
    table[5]["image_id"] = table[8]["image_id"]
    write_table(raw, table)
    assert command(raw, out, "--max-rejects", "0.1") == 0
    assert reject_reasons(out / "rejects.csv") == {table[8]["image_id"]: "id stands in lines 7, 10"}
    assert len(stored(records.load(out))) == 33


def test_an_unknown_diagnosis_is_rejected(raw: Path, out: Path) -> None:
    table = read_table(raw)
    table[5]["dx"] = "scc"
    write_table(raw, table)
    assert command(raw, out, "--max-rejects", "0.05") == 0
    reason = reject_reasons(out / "rejects.csv")[table[5]["image_id"]]
    assert reason.startswith("unknown dx 'scc', known: akiec, ")


def test_a_table_with_bom_spaces_and_windows_line_ends_is_read(
    raw: Path, older: Path, tmp_path: Path
) -> None:
    path = raw / ham10000.TABLE
    text = path.read_text().replace(",", " , ").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert command(raw, tmp_path / "new", "--seed", "9") == 0
    assert contents(tmp_path / "new") == contents(older)


FOLDERS = {
    "no folder": (shutil.rmtree, "no such folder"),
    "an empty folder": (
        lambda raw: (shutil.rmtree(raw), raw.mkdir()),
        "HAM10000_metadata.csv: not there (",
    ),
    "an empty table": (
        lambda raw: (raw / ham10000.TABLE).write_text(""),
        "HAM10000_metadata.csv: not a readable CSV",
    ),
    "a table of a header": (lambda raw: write_table(raw, []), "no rows below the header"),
    "a missing column": (
        lambda raw: (raw / ham10000.TABLE).write_text("lesion_id,image_id\na,b\n"),
        "no column dx; it has lesion_id, image_id",
    ),
    "a folder for a table": (
        lambda raw: ((raw / ham10000.TABLE).unlink(), (raw / ham10000.TABLE).mkdir()),
        "HAM10000_metadata.csv: not there (",
    ),
    "no images": (
        lambda raw: [shutil.rmtree(raw / f"HAM10000_images_part_{n}") for n in (1, 2)],
        "no .jpg or .jpeg image in",
    ),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_raw_folder_that_cannot_be_read_is_one_line(
    raw: Path, out: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = FOLDERS[kind]
    spoil(raw)
    before = contents(out)
    assert command(raw, out) == 1
    assert message in one_line(capsys)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "0.5", "0.5", "0.5"], "expected three shares that sum to 1"),
        (["--size", "3"], "--size 3: expected at least 8"),
    ],
)
def test_an_option_out_of_range_is_one_line(
    raw: Path, out: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(raw, out, *options) == 1
    assert message in one_line(capsys)


def test_the_raw_folder_as_out_is_refused(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(raw)
    assert command(raw, raw) == 1
    assert "holds other files than records" in one_line(capsys)
    assert contents(raw) == before


def test_a_file_in_the_place_of_a_folder_is_one_line(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert command(raw, place) == 1
        assert str(tmp_path / "file") in one_line(capsys)
    assert (tmp_path / "file").read_text() == "mine"


def test_debug_shows_the_traceback(
    raw: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / ham10000.TABLE).unlink()
    assert command(raw, out, "--debug") == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def process(raw: Path, out: Path, *options: str) -> "subprocess.Popen[str]":
    """The prepare command as a user starts it; large images, so that it takes a while."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tfrecords.ham10000",
            "--raw",
            raw,
            "--out",
            out,
            "--size",
            "1000",
            "--shard-size",
            "1",
            *options,
        ],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts background jobs deaf to Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


@contextlib.contextmanager
def caught_writing(raw: Path, out: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """The command when it has written its first shard."""
    running = process(raw, out, *options)
    try:
        deadline = time.monotonic() + 120
        while not list(out.with_name(f"{out.name}.partial").glob("*.tfrecord")):
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()


def alive(session: int) -> list[int]:
    """Processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                found.append(int(path.parent.name))
    return found


def left_over(session: int) -> list[int]:
    """Those that are still alive after some seconds."""
    deadline = time.monotonic() + 10
    while alive(session) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive(session)


@pytest.fixture(scope="module")
def undisturbed(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the command of `process` writes when nothing disturbs it."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return contents(write_records(whole, out, size=1000, shard_size=1).root)


@pytest.mark.slow
def test_ctrl_c_is_exit_code_130_and_one_line(
    raw: Path, out: Path, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(out)
    with caught_writing(raw, out, "--workers", "2") as running:
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the workers too
        stdout, stderr = running.communicate(timeout=30)
    assert running.returncode == 130
    assert stdout == ""
    assert stderr == (
        "error: stopped by Ctrl-C; what is finished is kept, the same command goes on\n"
    )
    assert contents(out) == before
    assert left_over(running.pid) == []
    finished = shard_files(out.with_name("out.partial"))
    assert 1 <= len(finished) < 35
    assert command(raw, out, "--size", "1000", "--shard-size", "1") == 0
    assert "going on in" in capsys.readouterr().out
    assert contents(out) == undisturbed


def test_ctrl_c_while_workers_start_is_one_line_too(raw: Path, out: Path) -> None:
    before = contents(out)
    running = process(raw, out, "--workers", "2")
    while len(alive(running.pid)) < 4:  # itself, two workers and Python's resource tracker
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)  # to look takes time on the processor, too
    time.sleep(0.05)  # the workers are importing
    os.killpg(running.pid, signal.SIGINT)
    stdout, stderr = running.communicate(timeout=30)
    assert running.returncode == 130
    assert stdout == ""
    assert stderr.startswith("error: stopped by Ctrl-C")
    assert stderr.count("\n") == 1
    assert contents(out) == before
    assert left_over(running.pid) == []


def test_after_kill_9_the_same_command_completes_the_records(
    raw: Path, out: Path, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(out)
    with caught_writing(raw, out, "--workers", "2") as running:
        running.kill()
        running.communicate(timeout=30)
    assert running.returncode == -signal.SIGKILL
    assert left_over(running.pid) == [], "workers outlive their parent"
    assert contents(out) == before
    assert command(raw, out, "--size", "1000", "--shard-size", "1") == 0
    assert "going on in" in capsys.readouterr().out
    assert contents(out) == undisturbed
    assert sorted(path.name for path in out.parent.iterdir()) == ["out", "raw"]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_older_records_stay(
    raw: Path, older: Path, tmp_path: Path
) -> None:
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    place, after = tmp_path / "disk", tmp_path / "after"
    place.mkdir()
    # In a namespace of its own, so that nothing stays mounted whatever happens.
    mount = f"mount -t tmpfs -o size=1m tmpfs '{place}'"
    tried = subprocess.run([*unshare, "sh", "-c", mount], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"no small disk can be mounted here: {tried.stderr.decode().strip()}")
    script = (
        f"{mount} && cp -r '{older}' '{place}/out' && "
        f"'{sys.executable}' -m tfrecords.ham10000 --raw '{raw}' --out '{place}/out' --size 700 "
        f"--shard-size 4 --workers 1; code=$?; cp -r '{place}' '{after}'; exit $code"
    )
    found = subprocess.run(
        [*unshare, "sh", "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    # TensorFlow 2.21 says what it is before it reads TF_CPP_MIN_LOG_LEVEL.
    said = [line for line in found.stderr.splitlines() if not re.match(r"WARNING: All|I\d+ ", line)]
    assert len(said) == 1
    assert said[0].startswith(f"error: no space left on the disk while writing {place}/out")
    assert contents(after / "out") == contents(older)
    assert not [path for path in (after / "out.partial").rglob("*") if path.name.startswith(".")]


EXPERIMENT = config.Experiment(
    name="tiny",
    data=config.Data(dataset="x", image_size=32),
    model=config.Model(backbone="small", weights="none"),
    training=config.Training(epochs=1, batch_size=4, learning_rate=1e-3),
    attack=config.Attack(epsilons=(0.01,), steps=2),
)


def spoil(path: Path) -> None:
    """Flip a byte in the middle; the length stays, so that only reading finds it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def context(stage: str, out: Path, tmp_path: Path, *more: str) -> int:
    log = pipeline.log
    before = list(log.handlers)
    try:
        return main(
            EXPERIMENT, [stage, "--records", str(out), "--runs", str(tmp_path / "runs"), *more]
        )
    finally:
        log.handlers = before


def reads(split: str) -> Callable[[pipeline.Context], None]:
    """A stage that reads a split and no more."""

    def read(step: pipeline.Context) -> None:
        data = step.experiment.data
        list(inputs.evaluation_batches(step.dataset(), split, data=data, batch_size=4))

    return read


def errors(capsys: pytest.CaptureFixture[str]) -> str:
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    return stderr


def test_training_on_a_damaged_shard_is_one_line_with_its_name(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sorted(out.glob("train-*"))[2]
    spoil(path)
    # These records have no validation split: a part of the training images takes its place.
    assert context("train", out, tmp_path, "--set", "data.folds=2") == 1
    assert errors(capsys).startswith(f"error: {path}: damaged (checksum differs)")
    with pytest.raises(Exception, match="run 'train' first"):
        Run.of(EXPERIMENT, tmp_path / "runs").require("train")


@pytest.mark.parametrize("split", ["train", "test"])
def test_any_stage_that_reads_a_damaged_shard_names_it(
    out: Path,
    tmp_path: Path,
    split: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = sorted(out.glob(f"{split}-*"))[0]
    spoil(path)

    monkeypatch.setattr(pipeline, "ready", lambda *_: None)  # It would ask for weights.
    monkeypatch.setitem(pipeline.STAGES, "predict", reads(split))
    assert context("predict", out, tmp_path) == 1
    assert errors(capsys).startswith(f"error: {path}: damaged (checksum differs)")


def test_a_record_that_does_not_decode_is_named_with_its_shard(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sorted(out.glob("train-*"))[1]
    examples = [
        tf.train.Example.FromString(each)
        for each in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    image = examples[2].features.feature["image"].bytes_list.value
    image[0] = image[0][:-2]  # without its end marker: Pillow and OpenCV are content with it
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    manifest = json.loads((out / "dataset.json").read_text())
    for shard in manifest["splits"]["train"]["shards"]:
        if shard["file"] == path.name:
            shard["bytes"] = path.stat().st_size
            shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (out / "dataset.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(pipeline, "ready", lambda *_: None)  # It would ask for weights.
    monkeypatch.setitem(pipeline.STAGES, "predict", reads("train"))
    assert context("predict", out, tmp_path) == 1
    id_ = examples[2].features.feature["id"].bytes_list.value[0].decode()
    expected = f"error: {path}: the image or mask of {id_} does not decode; make the records anew"
    assert errors(capsys).strip() == expected


def test_a_half_written_shard_or_none_is_one_line_with_its_name(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sorted(out.glob("test-*"))[0]
    os.truncate(path, path.stat().st_size - 7)
    assert context("train", out, tmp_path) == 1
    assert errors(capsys).startswith(f"error: {path}: ")
    path.unlink()
    assert context("train", out, tmp_path) == 1
    assert errors(capsys).startswith(f"error: {path}: missing")


def test_no_records_at_the_path_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert context("train", tmp_path / "none", tmp_path) == 1
    assert errors(capsys).startswith(f"error: {tmp_path / 'none'}: no records there")
