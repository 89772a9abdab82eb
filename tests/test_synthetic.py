"""The drawn data set: layout, determinism, and whether a lesion is where its mask says."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from attnrobust.errors import UserError
from tfrecords import ham10000, synthetic

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
IMAGES = 60


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "raw"
    synthetic.write_dataset(out, images=IMAGES, size=48, seed=5)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder by its relative name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def pixels(seed: int, dx: str = "nv", size: int = 48) -> np.ndarray:
    return synthetic.draw_lesion(np.random.default_rng(seed), dx=dx, size=size)[0]


def test_layout_is_ham10000s(drawn: Path) -> None:
    table = pd.read_csv(drawn / "HAM10000_metadata.csv")
    assert list(table.columns) == [
        "lesion_id",
        "image_id",
        "dx",
        "dx_type",
        "age",
        "sex",
        "localization",
    ]
    assert len(table) == IMAGES
    assert table.image_id.is_unique
    assert table.image_id.str.fullmatch(r"ISIC_\d{7}").all()
    assert table.lesion_id.str.fullmatch(r"HAM_\d{7}").all()
    assert not table.isna().any().any()
    halves = [
        {path.stem for path in (drawn / f"HAM10000_images_part_{part}").glob("*.jpg")}
        for part in (1, 2)
    ]
    assert [len(half) for half in halves] == [IMAGES // 2, IMAGES // 2]
    assert halves[0] | halves[1] == set(table.image_id)
    masks = {path.name for path in (drawn / "HAM10000_segmentations_lesion_tschandl").iterdir()}
    assert masks == {f"{image}_segmentation.png" for image in table.image_id}
    assert not drawn.with_name("raw.partial").exists()


def test_the_reader_of_the_real_set_takes_every_row(drawn: Path) -> None:
    rows, rejects = ham10000.read(drawn)
    assert len(rows) == IMAGES
    assert not rejects
    assert all(row.mask is not None for row in rows)


def test_every_file_opens_at_the_asked_size(drawn: Path) -> None:
    for path in drawn.rglob("*.jpg"):
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (48, 48, 3)
    for path in drawn.rglob("*.png"):
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (48, 48)
        assert set(np.unique(mask)) == {0, 255}


def test_a_fifth_of_the_lesions_has_two_images_of_one_class(drawn: Path) -> None:
    lesions = pd.read_csv(drawn / "HAM10000_metadata.csv").groupby("lesion_id")
    counts = lesions.size()
    assert set(counts) == {1, 2}
    assert np.isclose((counts == 2).mean(), 0.2, atol=0.02)
    same = lesions[["dx", "dx_type", "age", "sex", "localization"]].nunique()
    assert (same == 1).all().all()


@pytest.mark.parametrize("images", [10, 60, 200, 1200])
def test_every_class_is_drawn_and_nv_leads(images: int) -> None:
    table = synthetic._plan(images, seed=1)
    assert len(table) == images
    lesions = table.drop_duplicates("lesion_id").dx.value_counts()
    assert set(lesions.index) == set(CLASSES)
    assert lesions.idxmax() == "nv"
    assert images < 200 or lesions.min() >= 8


def test_same_seed_same_bytes_whatever_the_workers(drawn: Path, tmp_path: Path) -> None:
    synthetic.write_dataset(tmp_path / "again", images=IMAGES, size=48, seed=5, workers=2)
    assert contents(tmp_path / "again") == contents(drawn)


def test_other_seed_other_pixels(drawn: Path, tmp_path: Path) -> None:
    synthetic.write_dataset(tmp_path / "other", images=10, size=48, seed=6)
    name = "HAM10000_images_part_1/ISIC_0024306.jpg"
    assert contents(tmp_path / "other")[name] != contents(drawn)[name]
    assert not np.array_equal(pixels(1), pixels(2))


def test_second_photograph_shows_the_same_lesion_from_elsewhere() -> None:
    lesion = synthetic.new_lesion(np.random.default_rng(3), "mel")
    shots = [synthetic.photograph(np.random.default_rng(i), lesion, 96) for i in range(2)]
    assert not np.array_equal(shots[0][0], shots[1][0])
    # Hu's first invariant does not change with rotation, zoom and shift.
    hu = [cv2.HuMoments(cv2.moments(mask))[0, 0] for _, mask in shots]
    assert np.isclose(hu[0], hu[1], rtol=0.03)


@pytest.mark.parametrize("dx", CLASSES)
@pytest.mark.parametrize("size", [32, 100])
def test_lesion_is_where_its_mask_says(dx: str, size: int) -> None:
    contrasts = []
    for seed in range(6):
        image, mask = synthetic.draw_lesion(np.random.default_rng(seed), dx=dx, size=size)
        assert image.shape == (size, size, 3)
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
        assert 0.03 < (mask == 255).mean() < 0.7
        # Skin close to the lesion: further out, the lens' round edge may be black.
        far = cv2.dilate(mask, np.ones((3, 3)), iterations=max(1, size // 12))
        near = cv2.dilate(mask, np.ones((3, 3)), iterations=max(1, size // 32))
        skin, inside = image[(far == 255) & (near == 0)], image[mask == 255]
        contrasts.append(skin.mean(0) - inside.mean(0))
    # Green is where blood and pigment absorb; a scar or scales can outshine it in one lesion.
    green = np.array(contrasts)[:, 1]
    assert np.median(green) > 10
    assert np.abs(contrasts).max(axis=1).min() > 4


def test_size_changes_the_resolution_only() -> None:
    # Noise is drawn for each pixel and small sizes are drawn larger, so alike is not equal.
    large = cv2.resize(pixels(4, "nv", 192), (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(large.astype(float) - pixels(4, "nv", 48)).mean() < 6


def test_mean_colour_of_an_image_does_not_give_the_class_away() -> None:
    means = {
        dx: np.array([pixels(seed, dx, 32).mean((0, 1)) for seed in range(12)])
        for dx in ("nv", "mel", "bcc", "vasc")
    }
    spread = np.mean([values.std(0).mean() for values in means.values()])
    between = np.std([values.mean(0) for values in means.values()], axis=0).mean()
    assert between < 1.5 * spread


def test_done_once_is_left_alone(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (drawn / "HAM10000_metadata.csv").stat().st_mtime_ns
    synthetic.write_dataset(drawn, images=IMAGES, size=48, seed=5)
    assert "nothing to do" in capsys.readouterr().out
    assert (drawn / "HAM10000_metadata.csv").stat().st_mtime_ns == before
    stamp = json.loads((drawn / "synthetic.json").read_text())
    assert stamp["drawing_version"] == synthetic.DRAWING_VERSION
    with pytest.raises(UserError, match="seed 6"):
        synthetic.write_dataset(drawn, images=IMAGES, size=48, seed=6)


def test_foreign_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "HAM10000_metadata.csv").write_text("precious")
    with pytest.raises(UserError, match="name another folder"):
        synthetic.write_dataset(tmp_path, images=10, size=32)
    assert contents(tmp_path) == {"HAM10000_metadata.csv": b"precious"}


def test_foreign_partial_folder_is_refused_and_own_one_redone(tmp_path: Path) -> None:
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match="in the way"):
        synthetic.write_dataset(tmp_path / "out", images=10, size=32)
    assert (partial / "notes.txt").exists()
    (partial / "synthetic.json").write_text("{}")
    synthetic.write_dataset(tmp_path / "out", images=10, size=32)
    assert not partial.exists()
    assert not (tmp_path / "out" / "notes.txt").exists()


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    synthetic.write_dataset(tmp_path / "out", images=10, size=32)
    assert len(list(tmp_path.glob("out/*/*.jpg"))) == 10


@pytest.mark.parametrize(("name", "value"), [("images", 9), ("size", 31), ("seed", -1)])
def test_number_out_of_range_is_named(tmp_path: Path, name: str, value: int) -> None:
    numbers = {"images": 10, "size": 32, "seed": 0, name: value}
    with pytest.raises(UserError, match=f"--{name} {value}: expected at least"):
        synthetic.write_dataset(tmp_path / "out", **numbers)
    assert not (tmp_path / "out").exists()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--out", str(tmp_path / "out"), "--images", "10", "--size", "32", "--seed", "1"]
    assert synthetic.main(args) == 0
    assert "wrote 10 drawn images of 9 lesions" in capsys.readouterr().out
    assert synthetic.main([*args[:-1], "2"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(SystemExit) as usage:
        synthetic.main([])
    assert usage.value.code == 2
