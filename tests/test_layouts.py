"""Raw folders as they are really distributed, and what computers leave in them."""

import logging
import shutil
from pathlib import Path

import pytest
from data_helpers import (
    PARTS,
    SIZE,
    colours,
    encoded,
    image_file,
    make_chestxray14,
    make_eyepacs,
    make_raw,
    read_table,
    reject_reasons,
    stored,
    write_records,
)
from data_helpers import command as ham_command

from attnrobust.data import places, records, shards
from attnrobust.errors import UserError
from tfrecords import chestxray14, covid_cxr, eyepacs, ham10000

HEADER = "patientid,finding,view,modality,folder,filename,clinical_notes,"
LEFT = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(80)


@pytest.fixture
def ham(tmp_path: Path) -> Path:
    return make_raw(tmp_path / "ham", lesions=1)


def all_read(found: tuple, count: int) -> None:
    rows, rejects = found
    assert (len(rows), rejects) == (count, [])


@pytest.mark.parametrize(
    ("name", "separator", "quote"),
    [
        ("HAM10000_metadata", ",", ""),
        ("HAM10000_metadata.tab", "\t", '"'),
        ("HAM10000_metadata", "\t", '"'),
        ("HAM10000_metadata.csv", "\t", ""),
        ("ham10000_metadata.CSV", ",", ""),
    ],
)
def test_ham10000_from_the_dataverse(ham: Path, name: str, separator: str, quote: str) -> None:
    table = ham / ham10000.TABLE
    cells = [line.split(",") for line in table.read_text().splitlines()]
    table.unlink()
    (ham / name).write_text(
        "\n".join(separator.join(f"{quote}{cell}{quote}" for cell in row) for row in cells)
    )
    all_read(ham10000.read(ham), 14)


@pytest.mark.parametrize("kind", ["lower", "both", "halves", "nested", "nested lower"])
def test_ham10000_from_kaggle(ham: Path, kind: str) -> None:
    (ham / "hmnist_28_28_L.csv").write_text("pixel0000,label\n7,0\n")
    for part in PARTS:
        if kind == "both":
            shutil.copytree(ham / part, ham / part.lower())
        elif kind == "halves":
            (ham / part.lower()).mkdir()
            for image in sorted((ham / part).iterdir())[::2]:
                image.rename(ham / part.lower() / image.name)
        elif kind == "lower":
            (ham / part).rename(ham / part.lower())
        else:
            inner = part.lower() if kind == "nested lower" else part
            (ham / part).rename(ham / "x")
            (ham / part).mkdir()
            (ham / "x").rename(ham / part / inner)
    all_read(ham10000.read(ham), 14)


ISIC = {
    "akiec": ("Malignant epidermal proliferations", "Solar or actinic keratosis"),
    "bcc": ("Malignant adnexal epithelial proliferations - Follicular", "Basal cell carcinoma"),
    "bkl": ("Benign epidermal proliferations", "Pigmented benign keratosis"),
    "df": ("Benign soft tissue proliferations - Fibro-histiocytic", "Dermatofibroma"),
    "mel": ("Malignant melanocytic proliferations (Melanoma)", '"Melanoma, NOS"'),
    "nv": ("Benign melanocytic proliferations", "Nevus"),
    "vasc": ("Benign soft tissue proliferations - Vascular", ""),
}
FACE = {
    "akiec": "actinic_keratoses",
    "bcc": "basal_cell_carcinoma",
    "bkl": "benign_keratosis-like_lesions",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic_Nevi",
    "vasc": "vascular_lesions",
}


def test_ham10000_from_the_isic_archive_and_hugging_face(ham: Path) -> None:
    entries = read_table(ham)
    expected = [entry["dx"] for entry in entries]
    (ham / ham10000.TABLE).unlink()
    lines = ["isic_id,attribution,diagnosis_1,diagnosis_2,diagnosis_3,lesion_id"]
    for entry in entries:
        two, three = ISIC[entry["dx"]]
        lines.append(f"{entry['image_id']},ViDIR,Benign,{two},{three},{entry['lesion_id']}")
    (ham / "metadata.csv").write_text("\n".join(lines))
    all_read(ham10000.read(ham), 14)
    assert [row.label for row in ham10000.read(ham)[0]] == expected
    lines = ["image_id,lesion_id,dx"]
    lines += [f"{e['image_id']},{e['lesion_id']},{FACE[e['dx']]}" for e in entries]
    (ham / "metadata.csv").write_text("\n".join(lines))
    assert [row.label for row in ham10000.read(ham)[0]] == expected


def as_challenge(folder: Path, entries: list[dict[str, str]]) -> Path:
    """The layout of the ISIC challenge of 2018; returns the file of the lesions."""
    (folder / ham10000.TABLE).unlink()
    names = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    lines = [",".join(["image", *names])]
    for entry in entries:
        hot = [str(float(entry["dx"].upper() == name)) for name in names]
        lines.append(",".join([entry["image_id"], *hot]))
    (folder / f"{ham10000.CHALLENGE}_GroundTruth.csv").write_text("\n".join(lines))
    groups = folder / f"{ham10000.CHALLENGE}_LesionGroupings.csv"
    lines = ["image,lesion_id,diagnosis_confirm_type"]
    lines += [f"{entry['image_id']},{entry['lesion_id']},histopathology" for entry in entries]
    groups.write_text("\n".join(lines))
    (folder / PARTS[0]).rename(folder / f"{ham10000.CHALLENGE}_Input")
    for path in (folder / PARTS[1]).iterdir():
        path.rename(folder / f"{ham10000.CHALLENGE}_Input" / path.name)
    return groups


def test_ham10000_from_the_isic_challenge(ham: Path) -> None:
    expected = [(row.id, row.label, row.group, row.line) for row in ham10000.read(ham)[0]]
    groups = as_challenge(ham, read_table(ham))
    rows, rejects = ham10000.read(ham)
    assert not rejects
    assert [(row.id, row.label, row.group, row.line) for row in rows] == expected
    truth = ham / f"{ham10000.CHALLENGE}_GroundTruth.csv"
    lines = truth.read_text().splitlines()
    lines[1] = lines[1].replace("0.0", "1.0", 1)  # two classes
    lines[2] = lines[2].replace("1.0", "0.0")  # none
    lines[3] = lines[3].replace("0.0", "0.5", 1)
    truth.write_text("\n".join(lines))
    reasons = [reject.reason for reject in ham10000.read(ham)[1]]
    assert [reason.split(", known")[0] for reason in reasons] == [
        "unknown dx 'akiec, mel'",
        "unknown dx ''",
        "unknown dx 'bcc, MEL=0.5'",
    ]
    groups.unlink()
    with pytest.raises(UserError, match=r"GroundTruth.csv: names no lesions.* --split-by image"):
        ham10000.read(ham)
    rows, rejects = ham10000.read(ham, split_by="image")
    assert (len(rows), len(rejects)) == (11, 3)
    assert all(row.group == row.id for row in rows)


def test_what_is_found_elsewhere_is_named(ham: Path) -> None:
    (ham / "archive").mkdir()
    (ham / ham10000.TABLE).rename(ham / "archive" / ham10000.TABLE)
    with pytest.raises(UserError, match=r"not there .*; there is .*archive/HAM.*--raw .*archive$"):
        ham10000.read(ham)
    (ham / "archive" / ham10000.TABLE).rename(ham / "labels.csv")
    with pytest.raises(UserError, match=r"tables found: labels\.csv"):
        ham10000.read(ham)
    (ham / "labels.csv").rename(ham / ham10000.TABLE)
    for part in PARTS:
        (ham / part).rename(ham / f"my_{part}")
    with pytest.raises(UserError, match=r"no \.jpg .*; there are 7 in .*my_HAM10000_images_part_1"):
        ham10000.read(ham)


@pytest.mark.parametrize("place", ["images", "images_001/images", "images/images"])
def test_chestxray14_from_box(place: str, tmp_path: Path) -> None:
    folder = make_chestxray14(tmp_path / "nih", patients=4)
    text = (folder / "Data_Entry_2017.csv").read_text().replace("y],", "y]")
    (folder / "Data_Entry_2017.csv").unlink()
    (folder / "Data_Entry_2017_v2020.csv").write_text(text.replace("0.171,\n", "0.171\n"))
    (folder / "images").rename(folder / "x")
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / "x").rename(folder / place)
    all_read(chestxray14.read(folder), 8)


@pytest.mark.parametrize("place", ["sample/images", "sample/sample/images", "images"])
def test_chestxray14_sample_from_kaggle(place: str, tmp_path: Path) -> None:
    folder = make_chestxray14(tmp_path / "nih", patients=4)
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,"
        "OriginalImagePixelSpacing_y"
    )
    _, *lines = (folder / "Data_Entry_2017.csv").read_text().splitlines()
    (folder / "Data_Entry_2017.csv").unlink()
    lines = [line.rstrip(",").replace(",50,", ",050Y,") for line in lines]
    (folder / "sample_labels.csv").write_text("\n".join([header, *lines]))
    (folder / "images").rename(folder / "x")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / "x").rename(folder / place)
    all_read(chestxray14.read(folder), 8)


@pytest.mark.parametrize("kind", ["index", "float", "suffix", "cropped", "resized"])
def test_eyepacs_mirrors(kind: str, tmp_path: Path) -> None:
    folder = make_eyepacs(tmp_path / "eyes", patients=5)
    cells = [line.split(",") for line in (folder / "trainLabels.csv").read_text().splitlines()]
    head, *rows = cells
    expected = [row.label for row in eyepacs.read(folder)[0]]
    if kind in ("index", "cropped"):
        head, rows = ["", *head], [[str(n), *row] for n, row in enumerate(rows)]
    if kind == "float":
        rows = [[name, f"{level}.0"] for name, level in rows]
    if kind == "suffix":
        rows = [[f"{name}.jpeg", level] for name, level in rows]
    (folder / "trainLabels.csv").unlink()
    name = "trainLabels_cropped.csv" if kind == "cropped" else "trainLabels.csv"
    (folder / name).write_text("\n".join(map(",".join, [head, *rows])))
    if kind in ("cropped", "resized"):
        place = "resized_train_cropped" if kind == "cropped" else "resized_train"
        (folder / place).mkdir()
        (folder / "train").rename(folder / place / place)
    all_read(eyepacs.read(folder), 10)
    assert [row.label for row in eyepacs.read(folder)[0]] == expected


def test_eyepacs_with_both_tables_takes_each_with_its_images(tmp_path: Path) -> None:
    folder = make_eyepacs(tmp_path / "eyes", patients=2)
    shutil.copy(folder / "trainLabels.csv", folder / "trainLabels_cropped.csv")
    shutil.copytree(folder / "train", folder / "resized_train_cropped" / "resized_train_cropped")
    (folder / "train").rename(folder / "resized_train")
    assert {row.path.parent.name for row in eyepacs.read(folder)[0]} == {"resized_train"}
    (folder / "trainLabels.csv").unlink()
    assert eyepacs.read(folder)[0][0].path.parent.name == "resized_train_cropped"


def test_covid_whole(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    names = {"a.jpg": "a.jpg", "full-a": "full-a.png", "bare": "bare", "b@c (1).png": "b@c (1).png"}
    lines = [HEADER]
    for number, (name, file) in enumerate(names.items()):
        content = encoded(colours(number)[..., 0], "PNG" if file.endswith("png") else "JPEG")
        (tmp_path / "images" / file).write_bytes(content)
        lines.append(f"{number},No Finding,PA,X-ray,images,{name},,")
    lines += [f"9,No Finding,{view},X-ray,volumes,v{view}.nii.gz,," for view in ("Axial", "", "?")]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    rows, rejects = covid_cxr.read(tmp_path)
    assert not rejects
    assert {row.id: row.path.name for row in rows} == names


def litter(folder: Path) -> None:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(LEFT)
        twin = folder / "__MACOSX" / path.relative_to(folder)
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.with_name(f"._{path.name}").write_bytes(LEFT)
        inner = path.parent / "__MACOSX"
        inner.mkdir(exist_ok=True)
        (inner / path.name).write_bytes(LEFT)
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (path.parent / name).write_bytes(LEFT)


@pytest.mark.parametrize("reader", [ham10000, eyepacs, chestxray14, covid_cxr])
def test_what_computers_leave_behind_plays_no_part(
    reader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    if reader is covid_cxr:
        test_covid_whole(tmp_path)
    else:
        make = {ham10000: make_raw, eyepacs: make_eyepacs, chestxray14: make_chestxray14}[reader]
        make(tmp_path / "raw")
    folder = tmp_path if reader is covid_cxr else tmp_path / "raw"
    before = reader.read(folder)
    litter(folder)
    caplog.clear()
    assert reader.read(folder) == before
    assert "no row in the table" not in caplog.text


def test_a_partial_download_counts_apart_from_damage(
    ham: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out, said = tmp_path / "out", r"7 of 14 rows have no image file.*--partial if that is meant"
    for entry in read_table(ham)[::2]:
        image_file(ham, entry["image_id"]).unlink()
    with pytest.raises(UserError, match=said):
        write_records(ham, out, max_rejects=0.01)
    assert ham_command(ham, out, "--partial") == 0
    assert len(stored(records.load(out))) == 7
    assert set(reject_reasons(out / "rejects.csv").values()) == {"no image file of this name"}
    image_file(ham, read_table(ham)[1]["image_id"]).write_bytes(b"")
    assert ham_command(ham, out, "--partial") == 1
    assert "1 of 7 rows with an image file cannot be used" in capsys.readouterr().err
    assert ham_command(ham, out, "--partial", "--max-rejects", "0.2") == 0


@pytest.mark.parametrize("value", ["nan", "-0.1", "1.5", "inf"])
def test_a_share_that_is_none_is_one_line(
    value: str, ham: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert ham_command(ham, tmp_path / "out", "--max-rejects", value) == 1
    said = capsys.readouterr().err.strip()
    assert said == f"error: --max-rejects {value}: expected a share from 0 to 1"
    with pytest.raises(UserError, match="--max-megapixels nan"):
        shards.Preparation(size=SIZE, max_megapixels=float("nan"))


def test_a_folder_that_links_to_itself_is_named_once(ham: Path) -> None:
    for part in PARTS:
        shutil.rmtree(ham / part)
    (ham / "images").symlink_to(ham)
    with pytest.raises(UserError, match=r"no .*jpeg image") as error:
        ham10000.read(ham)
    assert "images/images" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("._a.jpg", ".DS_Store", "__MACOSX", "Thumbs.db", "desktop.ini", "Icon\r"),
        *("@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle"),
    ],
)
def test_leftovers_are_known_by_name(name: str) -> None:
    assert places.left_over(name)
    assert not places.left_over("a.jpg")
