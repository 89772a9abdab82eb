"""Brain scans: axes, voxels, label maps and layouts, on drawn NIfTI files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from data_helpers import make_raw

from attnrobust.data import inputs, nifti, records, volumes
from attnrobust.data.volumes import Cut, Scan
from attnrobust.disk import runs
from attnrobust.errors import UserError
from tfrecords import brain_mri, ham10000_lesions

# Right, anterior, superior.
SHAPE, VOXEL = (16, 10, 20), (1.0, 1.5, 1.0)
BACK = np.diag([*VOXEL, 1.0])


def head(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A scan with RAS axes: tissue in a box, brighter above, a bright block on the right."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.int16)
    labels[3:13, 2:8, 4:16] = 2
    labels[5:11, 3:7, 6:14] = 3
    labels[10:12, 4:6, 10:12] = 1
    image = (100 * labels + 10 * np.arange(SHAPE[2])) * (labels > 0) + rng.integers(0, 5, SHAPE)
    image[labels == 0] = 0
    return image.astype(np.int16), labels


def save(path: Path, array: np.ndarray, affine: np.ndarray = BACK, *, code: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code)
    image.set_qform(affine, 0)
    nibabel.save(image, path)
    return path


def subject(folder: Path, name: str, seed: int = 0) -> Scan:
    image, labels = head(seed)
    place = folder / name
    return Scan(
        name,
        save(place / f"{name}.nii.gz", image[..., None]),
        save(place / f"{name}_seg.nii.gz", labels[..., None]),
    )


def command(raw: Path, out: Path, *options: str) -> int:
    words = ["--raw", str(raw), "--out", str(out), "--workers", "1", *options]
    return brain_mri.main(words)


@pytest.mark.parametrize("codes", ["LPS", "PIR", "SAL"])
def test_scans_of_other_orientations_are_the_same_slices(codes: str, tmp_path: Path):
    image, labels = head()
    plain = volumes.pair(
        Scan("a", save(tmp_path / "a.nii", image), save(tmp_path / "b.nii", labels))
    )
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(BACK), nibabel.orientations.axcodes2ornt(codes)
    )
    others = []
    for name, array in (("image", image), ("labels", labels)):
        turned = nibabel.Nifti1Image(array, BACK).as_reoriented(turn)
        assert "".join(nibabel.aff2axcodes(turned.affine)) == codes
        others.append(save(tmp_path / f"{name}.nii.gz", turned.get_fdata(), turned.affine))
    found = volumes.pair(Scan("a", *others))
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose(found[2], VOXEL)


def test_planes_show_the_patient_upright():
    volume = np.zeros(SHAPE)
    volume[15, 9, 19] = 1  # rightmost, foremost, uppermost
    places = {
        plane: np.argwhere(volumes.slices(volume, np.ones(3), plane)[0]).tolist()
        for plane in volumes.PLANES
    }
    # Slice, row from above, column.
    assert places == {"sagittal": [[15, 0, 9]], "coronal": [[9, 0, 15]], "axial": [[19, 0, 15]]}


def test_pixels_of_a_slice_are_square_in_mm():
    volume = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    for plane, shape, mm in (
        ("coronal", (10, 20, 16), 1.0),
        ("axial", (20, 15, 16), 1.0),
        ("sagittal", (16, 20, 15), 1.0),
    ):
        cuts, found = volumes.slices(volume, np.array(VOXEL), plane)
        assert (cuts.shape, found) == (shape, mm)
    labels = (volume > 1000).astype(np.uint8)
    cuts, _ = volumes.slices(labels, np.array(VOXEL), "axial", nearest=True)
    assert set(np.unique(cuts)) == {0, 1}


def test_the_square_holds_all_that_is_bright():
    cuts = np.zeros((3, 20, 30))
    cuts[1, 4:8, 10:20] = 1
    top, left, side = volumes.square(cuts, whole_field=False)
    assert (top, left, side) == (0, 9, 11)
    made = volumes.cropped(cuts, (top, left, side))
    assert made.shape == (3, 11, 11)
    assert made.sum() == cuts.sum()
    assert volumes.square(cuts, whole_field=True) == (-5, 0, 30)
    assert volumes.cropped(cuts, (-5, 0, 30))[1, 9:13, 10:20].all()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    folder = tmp_path_factory.mktemp("ibsr")
    for number in range(5):
        subject(folder / "raw", f"S_{number}", number)
    assert command(folder / "raw", folder / "out", "--size", "32", "--split", ".6", ".2", ".2") == 0
    return records.load(folder / "out")


def test_records_of_a_folder_of_subjects(made: records.Dataset):
    assert made.kind == "segment"
    assert made.classes == ("background", "csf", "grey_matter", "white_matter")
    described = runs.load_json(made.root / "dataset.json")
    assert described["plane"] == "coronal"
    assert described["volumes"].keys() == {f"S_{number}" for number in range(5)}
    facts = described["volumes"]["S_0"]
    # Tissue is 12 mm high and 10 wide; six of ten slices show some.
    assert facts == {
        "voxel": list(VOXEL),
        "side": 13.0,
        "thickness": 1.5,
        "slices": 6,
        "left_out": 4,
    }
    assert made.sides == dict.fromkeys(described["volumes"], 13.0)
    assert [made.count(split) for split in ("train", "validation", "test")] == [18, 6, 6]
    found = inputs.labels(made, "test")
    assert set(np.unique(found)) == {0, 1, 2, 3}
    # The bright block lies on the patient's right and above the middle, here the same.
    rows, columns = np.nonzero((found == 1).any(axis=0))
    assert columns.mean() > 16 > rows.mean()


def test_slices_are_kept_as_they_are_and_by_subject(made: records.Dataset):
    from attnrobust import config

    groups = {}
    for split in made.splits:
        data = config.Data("brain_mri", image_size=32)
        for batch in inputs.evaluation_batches(made, split, data=data, batch_size=50):
            for group in batch["group"].numpy():
                groups.setdefault(group, set()).add(split)
            image = batch["image"].numpy()
            assert (image[..., 0] == image[..., 2]).all()
            assert image.max() == 1
    assert len(groups) == 5
    assert all(len(splits) == 1 for splits in groups.values())


def test_sides_in_mm_are_those_of_the_slice_s_own_subject(made: records.Dataset):
    """A group spells 007 as 7, and holds two subjects where a slice of both is the same."""
    known = dataclasses.replace(made, sides={"007": 10.0, "a-b": 20.0})
    assert known.sides_of(["007-012", "a-b-000", "007-001"]) == [10, 20, 10]
    assert known.sides_of(["007-012", "7-012"]) == []
    assert made.sides_of(["S_0-003"]) == [13]


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000), ("micron", 0.001), ("unknown", 1)])
def test_voxels_are_in_mm_whatever_unit_the_file_has(unit: str, mm: float, tmp_path: Path):
    image = nibabel.Nifti1Image(head()[0], BACK)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    _, affine = nifti.load(tmp_path / "a.nii")
    np.testing.assert_allclose(np.diag(affine)[:3], mm * np.array(VOXEL))


def test_two_orientations_in_one_header_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    image = nibabel.Nifti1Image(head()[0], BACK)
    image.set_sform(BACK, 1)
    image.set_qform(np.diag([-1.0, 1.5, 1.0, 1.0]), 1)
    nibabel.save(image, tmp_path / "a.nii")
    with caplog.at_level("WARNING", logger="attnrobust"):
        found, _ = nifti.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(found, head()[0])
    (said,) = caplog.messages
    assert "qform says LAS, 1.00 x 1.50 x 1.00, its sform RAS, 1.00 x 1.50 x 1.00" in said


def test_labels_that_were_stored_scaled_are_whole_again(tmp_path: Path):
    image, labels = head()
    off = labels + np.float32(2e-5) * (labels > 0)
    scan = Scan("a", save(tmp_path / "a.nii", image), save(tmp_path / "b.nii", off - 4e-5))
    np.testing.assert_array_equal(volumes.pair(scan)[1], labels)


def test_a_folder_without_a_scan_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    subject(tmp_path, "a")
    (tmp_path / "notes").mkdir()
    with caplog.at_level("WARNING", logger="attnrobust"):
        assert [scan.subject for scan in brain_mri.scans(tmp_path)] == ["a"]
    assert "1 folders hold no scan of their name: notes" in caplog.text


def test_nnu_net_s_labels_without_a_scan_are_said(tmp_path: Path):
    image, labels = head()
    save(tmp_path / "imagesTr" / "a_0000.nii.gz", image)
    for name in ("a", "b"):
        save(tmp_path / "labelsTr" / f"{name}.nii.gz", labels)
    (tmp_path / "labelsTr" / "._a.nii.gz").write_bytes(b"of a Mac")
    with pytest.raises(UserError, match=r"labelsTr/b: no b_0000\.nii\.gz in imagesTr"):
        brain_mri.scans(tmp_path)


def test_background_slices_stay_if_asked_for_but_no_black_ones(tmp_path: Path):
    scan = subject(tmp_path, "a")
    image, labels = head()
    image[:, 0] = 50
    save(scan.image, image)
    kwargs = {"classes": ["b", "c", "g", "w"], "values": {0: 0, 1: 1, 2: 2, 3: 3}}
    place = tmp_path / "slices"
    place.mkdir()
    for background, number in ((False, 6), (True, 7)):
        cut = Cut(size=0, background=background)
        rows, facts = volumes.unpack([scan], place, cut=cut, **kwargs)
        assert len(rows) == facts["a"]["slices"] == number
        assert facts["a"]["left_out"] == 10 - number
    assert labels.max() == 3


def test_nnu_net_s_layout_brings_its_label_map(tmp_path: Path):
    for number in range(4):
        image, labels = head(number)
        save(tmp_path / "raw" / "imagesTr" / f"case_{number}_0000.nii.gz", image)
        save(tmp_path / "raw" / "imagesTr" / f"case_{number}_0001.nii.gz", image)
        save(tmp_path / "raw" / "labelsTr" / f"case_{number}.nii.gz", labels)
    said = {"labels": {"background": 0, "tissue": [1, 2], "white": 3}}
    (tmp_path / "raw" / "dataset.json").write_text(json.dumps(said))
    (tmp_path / "raw" / "splits.csv").write_text("subject,split\ncase_2,test\n")
    assert command(tmp_path / "raw", tmp_path / "out", "--size", "16", "--plane", "axial") == 0
    made = records.load(tmp_path / "out")
    assert made.classes == ("background", "tissue", "white")
    assert made.count("test") == 12
    former = {"0": "background", "2": "white", "1": "tissue"}
    assert brain_mri._read({"labels": former}) == {"background": [0], "tissue": [1], "white": [2]}


def broken(case: str, raw: Path) -> None:
    """Spoil a folder of two subjects in one way."""
    image, labels = head()
    other, place = raw / "b" / "b.nii.gz", raw / "b" / "b_seg.nii.gz"
    moved, outside = BACK.copy(), labels.copy()
    moved[0, 3], outside[8, 5, 10] = 7, 77
    colours = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    spoil: dict[str, Callable[[], object]] = {
        "no labels": place.unlink,
        "no scan": other.unlink,
        "no NIfTI": lambda: other.write_bytes(b"something else"),
        "4-D": lambda: save(other, np.stack([image, image], axis=-1)),
        "size": lambda: save(place, labels[1:]),
        "elsewhere": lambda: save(place, labels, moved),
        "no orientation": lambda: save(other, image, code=0),
        "outside": lambda: save(place, outside),
        "halves": lambda: save(place, labels + 0.5),
        "NaN": lambda: save(place, np.where(labels == 1, np.nan, labels)),
        "infinite": lambda: save(place, np.where(labels == 1, np.inf, labels)),
        "huge": lambda: save(place, np.where(labels == 1, 1e300, labels)),
        "colours": lambda: save(other, colours),
        "coloured labels": lambda: save(place, colours),
        "complex": lambda: save(other, image.astype(np.complex64)),
        "twice": lambda: save(raw / "b" / "b.nii", image),
        "splits": lambda: (raw / "splits.csv").write_text("subject,split\na,test\na,train\n"),
        "no such split": lambda: (raw / "splits.csv").write_text("subject,split\na,exam\n"),
    }
    spoil[case]()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no labels", "b.nii.gz: no b_seg.nii.gz beside it"),
        ("no NIfTI", "b.nii.gz: not a NIfTI file that can be read"),
        ("4-D", "b.nii.gz: shape (16, 10, 20, 2), expected one volume of three axes"),
        ("size", "b_seg.nii.gz: 15 x 10 x 20 voxels, its image 16 x 10 x 20"),
        ("elsewhere", "b_seg.nii.gz: lies elsewhere than its image"),
        ("no orientation", "b.nii.gz: says no orientation"),
        ("outside", "b_seg.nii.gz: label 77 stands for no structure of the label map (background"),
        ("halves", "b_seg.nii.gz: labels that are no whole numbers"),
        ("NaN", "b_seg.nii.gz: labels that are no whole numbers"),
        ("infinite", "b_seg.nii.gz: labels that are no whole numbers"),
        ("huge", "b_seg.nii.gz: labels that are no whole numbers"),
        ("colours", "b.nii.gz: colours or complex numbers, expected one number a voxel"),
        ("coloured labels", "b_seg.nii.gz: colours or complex numbers"),
        ("complex", "b.nii.gz: colours or complex numbers"),
        ("no scan", "b_seg.nii.gz: no b.nii.gz beside it"),
        ("twice", "b.nii.gz: b.nii beside it; expected one of the two"),
        ("splits", "splits.csv: line 3: a in two splits, test before"),
        ("no such split", "splits.csv: line 2: split exam, expected train, validation, test"),
    ],
)
def test_what_is_wrong_with_a_scan_is_said_in_a_line(
    case: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("a", "b"):
        subject(tmp_path / "raw", name)
    broken(case, tmp_path / "raw")
    assert command(tmp_path / "raw", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "expected the background, 0, first"),
        ('{"background": 0, "a": [1, 1]}', "1 stands for two structures"),
        ('{"a": 1, "background": 0}', "expected the background, 0, first"),
        ("[1, 2]", "not a label map; expected JSON"),
        ("no JSON", "not a label map; expected JSON"),
        ('{"background": 0, "a": 1.5}', "not a label map; expected JSON"),
        ('{"background": 0, "a": true}', "not a label map; expected JSON"),
        ('{"background": 0, "": 1}', "not a label map; expected JSON"),
        (
            json.dumps({"background": 0, **{f"s{n}": n for n in range(1, 257)}}),
            "257 structures, expected at most 256",
        ),
    ],
)
def test_what_is_wrong_with_a_label_map_is_said(content: str, said: str, tmp_path: Path):
    place = tmp_path / "map.json"
    place.write_text(content)
    with pytest.raises(UserError, match=said):
        brain_mri.structures(str(place), tmp_path)
    with pytest.raises(UserError, match=r"--labels nothing.json: no such file; expected one, or"):
        brain_mri.structures("nothing.json", tmp_path)


def test_label_maps_name_no_number_twice():
    for name, structures in brain_mri.LABELS.items():
        every = [number for numbers in structures.values() for number in numbers]
        assert len(every) == len(set(every)), name
        assert next(iter(structures)) == "background"
        assert 0 in structures["background"]
    with pytest.raises(UserError, match="no scans; expected"):
        brain_mri.scans(Path(__file__).parent)


def test_lesions_of_ham10000_are_segmented_by_its_masks(tmp_path: Path):
    raw = make_raw(tmp_path / "raw", lesions=2, masks=True)
    next((raw / "HAM10000_segmentations_lesion_tschandl").iterdir()).unlink()
    words = ["--raw", str(raw), "--out", str(tmp_path / "out"), "--size", "16", "--workers", "1"]
    assert ham10000_lesions.main([*words, "--max-rejects", "0.1"]) == 0
    made = records.load(tmp_path / "out")
    assert (made.kind, made.classes) == ("segment", ("background", "lesion"))
    found = inputs.labels(made, "train")
    expected = np.zeros((16, 16), int)
    expected[4:12, 2:8] = 1
    assert (found == expected).all()
    assert "no mask" in (tmp_path / "out" / "rejects.csv").read_text()
    with pytest.raises(UserError, match="no masks; expected them in HAM10000_segm"):
        ham10000_lesions.read(make_raw(tmp_path / "bare", lesions=1))
