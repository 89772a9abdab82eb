"""The readers of the two COVID-19 sets: layouts, findings old and new, views, patients, task."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from data_helpers import colours, encoded, stored

from attnrobust.data import prepare, records, shards, writing
from attnrobust.errors import UserError
from tfrecords import covid_cxr, covid_cxr_actualmed

# The header as published last, its empty last column included.
HEADER = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,"
    "went_icu,in_icu,needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,"
    "neutrophil_count,lymphocyte_count,view,modality,date,location,folder,filename,doi,url,license,"
    "clinical_notes,other_notes,"
)
ACTUALMED = (
    "patientid,offset,sex,age,finding,survival,temperature,pO2 saturation,view,modality,imagename,"
    "artifacts/distortion,notes"
)


def line(header: str, **values: str) -> str:
    return ",".join(values.get(column, "") for column in header.split(","))


def draw(folder: Path, name: str, seed: int) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    kind = "PNG" if name.lower().endswith(".png") else "JPEG"
    (folder / "images" / name).write_bytes(encoded(colours(seed)[..., 0], kind))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten patients with two frontal X-rays each, lines 2 to 21, a lateral one and a CT slice."""
    raw, lines = tmp_path / "raw", [HEADER]
    findings = ["Pneumonia/Viral/COVID-19"] * 6 + [
        "No Finding",
        "Pneumonia",
        "Tuberculosis",
        "Pneumonia/Viral/SARS",
    ]
    for patient, finding in enumerate(findings):
        for number, (view, suffix) in enumerate((("PA", "jpg"), ("AP Supine", "png"))):
            name = f"00000{patient}-{number}.{suffix}"
            draw(raw, name, 10 * patient + number)
            lines.append(
                line(
                    HEADER,
                    patientid=f"{patient}",
                    finding=finding,
                    view=view,
                    modality="X-ray",
                    folder="images",
                    filename=name,
                    clinical_notes='"fever, cough"',
                )
            )
    draw(raw, "side.jpg", 99)
    draw(raw, "slice.jpg", 98)
    for name, view, modality in (
        ("side.jpg", "L", "X-ray"),
        ("slice.jpg", "Axial", "CT"),
        ("volume.nii.gz", "", "CT"),
    ):
        lines.append(
            line(
                HEADER,
                patientid="0",
                finding="Pneumonia/Viral/COVID-19",
                view=view,
                modality=modality,
                filename=name,
            )
        )
    (raw / "metadata.csv").write_text("\n".join(lines) + "\n")
    return raw


def edit(folder: Path, change: Callable[[dict[str, str]], None], number: int = 4) -> None:
    """Change one line of the CSV, by its number in an editor."""
    path = folder / "metadata.csv"
    lines = path.read_text().splitlines()
    columns = lines[0].split(",")
    values = dict(zip(columns, lines[number - 1].replace("r, c", "r; c").split(","), strict=True))
    change(values)
    lines[number - 1] = ",".join(values[column] for column in columns)
    path.write_text("\n".join(lines) + "\n")


def setting(folder: Path, number: int = 4, **values: str) -> None:
    edit(folder, lambda row: row.update(values), number)


def test_rows_have_finding_patient_and_line_and_others_are_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows, rejects = covid_cxr.read(folder)
    assert not rejects
    assert len(rows) == 20
    first, second = rows[:2]
    assert (first.id, first.label, first.group, first.line) == (
        "000000-0.jpg",
        "covid_19",
        "0",
        2,
    )
    assert first.path == folder / "images" / "000000-0.jpg"
    assert (second.id, second.group, second.line) == ("000000-1.png", "0", 3)
    assert Counter(row.label for row in rows) == {
        "covid_19": 12,
        "no_finding": 2,
        "pneumonia": 2,
        "tuberculosis": 2,
        "sars": 2,
    }
    # The files of the left out rows do not count as files without a row.
    assert [record.message for record in caplog.records] == ["3 rows left out: lateral or CT"]


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("COVID-19", "covid_19"),
        ("Pneumonia/Viral/COVID-19", "covid_19"),
        ('"COVID-19, ARDS"', "covid_19_ards"),
        ("ARDS", "ards"),
        ("No finding", "no_finding"),
        ("E.Coli", "e_coli"),
        ("Pneumonia/Bacterial/E.Coli", "e_coli"),
        ("Herpes ", "herpes"),
        ("Pneumonia/Viral/Influenza", "influenza"),
        ("Pneumonia/Viral/Influenza/H1N1", "h1n1"),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", "mrsa"),
        ("Pneumonia/Bacterial", "bacterial"),
        ("Pneumonia", "pneumonia"),
    ],
)
def test_a_finding_has_one_class_in_old_and_new_versions(
    folder: Path, finding: str, label: str
) -> None:
    setting(folder, finding=finding)
    rows, rejects = covid_cxr.read(folder)
    assert not rejects
    assert {row.line: row.label for row in rows}[4] == label


def test_every_published_finding_has_a_class_of_its_own() -> None:
    # Those under a kind have their short name besides, and no two the same.
    assert len(covid_cxr.CLASSES) == 25
    short = [finding for finding in covid_cxr.FINDINGS.values() if "/" in finding]
    assert len(covid_cxr.LABELS) == 25 + len(short)
    assert set(covid_cxr.LABELS.values()) == set(covid_cxr.CLASSES)


def test_the_task_takes_covid_with_and_without_ards_together() -> None:
    task = covid_cxr.TASKS["covid"]
    positive = [name for name, label in zip(covid_cxr.CLASSES, task.of, strict=True) if label]
    assert positive == ["covid_19", "covid_19_ards"]
    assert task.classes == covid_cxr_actualmed.TASKS["covid"].classes == ("other", "covid_19")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"view": "Oblique"}, "unknown view 'Oblique', known: pa, ap, ap supine"),
        ({"view": ""}, "unknown view ''"),
        ({"finding": ""}, "empty finding"),
        ({"finding": "Fracture"}, "unknown finding 'Fracture', known: no finding"),
        ({"finding": "Fracture/COVID-19"}, "unknown finding 'Fracture/COVID-19'"),
        ({"patientid": ""}, "empty patientid: its split would be a guess"),
        ({"filename": "absent.jpg"}, "no image file of this name"),
        ({"filename": "000001-0.png"}, "no image file of this name"),
        ({"filename": ""}, "unsafe id"),
        ({"filename": "../images/000001-0.jpg"}, "unsafe id"),
        ({"filename": "/etc/passwd"}, "unsafe id"),
        ({"filename": "a*(1).jpg"}, "unsafe id"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_with_its_line(
    folder: Path, values: dict[str, str], reason: str
) -> None:
    setting(folder, **values)
    rows, rejects = covid_cxr.read(folder)
    assert [reject.line for reject in rejects] == [4]
    assert reason in rejects[0].reason
    assert len(rows) == 19


@pytest.mark.parametrize("view", ["AP", "AP erect", "AP Erect", "AP semi erect", "ap supine"])
def test_frontal_views_are_taken(folder: Path, view: str) -> None:
    setting(folder, view=view)
    rows, rejects = covid_cxr.read(folder)
    assert (len(rows), rejects) == (20, [])


def test_findings_that_are_none_are_left_out_aloud(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setting(folder, finding="todo")
    setting(folder, 5, finding="Unknown")
    rows, rejects = covid_cxr.read(folder)
    assert (len(rows), rejects) == (18, [])
    assert "2 rows left out: finding todo or unknown" in [r.message for r in caplog.records]


def test_a_table_without_modality_is_read(folder: Path) -> None:
    path = folder / "metadata.csv"
    lines = [
        part.replace(",X-ray,", ",").replace(",CT,", ",").replace(",modality,", ",")
        for part in path.read_text().splitlines()
        if "volume" not in part
    ]
    path.write_text("\n".join(lines))
    rows, rejects = covid_cxr.read(folder)
    assert (len(rows), rejects) == (20, [])


def test_a_patient_that_became_a_number_with_a_point_is_the_same(folder: Path) -> None:
    setting(folder, patientid="1.0")
    setting(folder, 6, patientid="2a")
    setting(folder, 8, patientid="3.5")
    group = {row.line: row.group for row in covid_cxr.read(folder)[0]}
    assert (group[4], group[5]) == ("1", "1")
    assert (group[6], group[7]) == ("2a", "2"), "letters stand for other patients"
    assert group[8] == "3.5"


def test_names_that_differ_in_the_suffix_alone_are_two_images(folder: Path) -> None:
    draw(folder, "000001-0.png", 77)
    setting(folder, 5, filename="000001-0.png")
    rows, rejects = covid_cxr.read(folder)
    assert not rejects
    assert [row.path.name for row in rows[2:4]] == ["000001-0.jpg", "000001-0.png"]


def test_a_file_in_a_lateral_and_a_frontal_row_is_named_once_as_doubled(folder: Path) -> None:
    setting(folder, 5, filename="side.jpg")
    rows, rejects = covid_cxr.read(folder)
    assert (len(rows), rejects) == (20, [])
    setting(folder, 5, filename="000001-0.jpg")
    reasons = {reject.line: reject.reason for reject in covid_cxr.read(folder)[1]}
    assert reasons == {4: "id stands in lines 4, 5", 5: "id stands in lines 4, 5"}


def test_a_missing_folder_table_column_or_image_is_one_line(folder: Path) -> None:
    for module in (covid_cxr, covid_cxr_actualmed):
        with pytest.raises(UserError, match="no such folder"):
            module.read(folder / "none")
    with pytest.raises(UserError, match="no column imagename, notes; it has patientid"):
        covid_cxr_actualmed.read(folder)
    path = folder / "metadata.csv"
    text = path.read_text()
    path.write_text(text.replace("patientid", "Patientid", 1))
    with pytest.raises(UserError, match="no column patientid; it has Patientid"):
        covid_cxr.read(folder)
    path.write_text(text)
    (folder / "images").rename(folder / "pictures")
    with pytest.raises(UserError, match="no such folder; expected the images in it"):
        covid_cxr.read(folder)
    (folder / "images").mkdir()
    with pytest.raises(UserError, match=r"no image in .*; \.jpg, .* are read"):
        covid_cxr.read(folder)
    path.unlink()
    with pytest.raises(UserError, match=r"metadata\.csv: not there"):
        covid_cxr.read(folder)


def test_a_split_by_image_makes_each_xray_its_own_group(folder: Path) -> None:
    rows, _ = covid_cxr.read(folder, split_by="image")
    assert [row.group for row in rows] == [row.id for row in rows]


def test_classes_of_one_patient_do_not_break_the_command(folder: Path, tmp_path: Path) -> None:
    log = logging.getLogger("attnrobust")
    before = list(log.handlers)
    argv = ["--raw", str(folder), "--out", str(tmp_path / "out"), "--size", "16", "--workers", "1"]
    try:
        code = prepare.main(
            covid_cxr.NAME,
            covid_cxr.CLASSES,
            covid_cxr.read,
            argv=argv,
            split_by=("patient", "image"),
            tasks=covid_cxr.TASKS,
        )
    finally:
        log.handlers = before
    assert code == 0
    dataset = records.load(tmp_path / "out")
    covid = dataset.as_task("covid")
    # Of 6 patients with COVID-19 round(1.2) = 1 is test, round(0.6) = 1 validation; the four
    # classes of one patient are for training.
    counts = {split: covid.splits[split]["class_counts"] for split in covid.splits}
    assert counts == {
        "train": {"other": 8, "covid_19": 8},
        "validation": {"other": 0, "covid_19": 2},
        "test": {"other": 0, "covid_19": 2},
    }
    assert alone(dataset) == 10


def alone(dataset: records.Dataset) -> int:
    """Number of patients, each of whom is in one split."""
    places: dict[str, set[str]] = {}
    for example in stored(dataset).values():
        places.setdefault(example["group"], set()).add(example["split"])
    assert all(len(splits) == 1 for splits in places.values())
    return len(places)


@pytest.fixture
def actualmed(tmp_path: Path) -> Path:
    """Six X-rays in lines 2 to 7, the last two inconclusive."""
    raw, lines = tmp_path / "raw", [ACTUALMED]
    rows = [
        ("COVID-19", ""),
        ("COVID-19", ""),
        ("No finding", "Negative"),
        ("No finding", ""),
        ("", "Inconclusive"),
        ("inconclusive", ""),
    ]
    for number, (finding, note) in enumerate(rows):
        name = f"CR.1.2.840.2020032{number}.1003000225002.png"
        draw(raw, name, number)
        lines.append(
            line(
                ACTUALMED,
                patientid=f"ANON{number // 2}",
                finding=finding,
                view="PA",
                modality="X-ray",
                imagename=name,
                notes=note,
            )
        )
    (raw / "metadata.csv").write_text("\n".join(lines) + "\n")
    return raw


def test_actualmed_has_two_classes_and_says_what_is_inconclusive(
    actualmed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows, rejects = covid_cxr_actualmed.read(actualmed)
    assert not rejects
    assert [(row.label, row.group, row.line) for row in rows] == [
        ("covid_19", "ANON0", 2),
        ("covid_19", "ANON0", 3),
        ("no_finding", "ANON1", 4),
        ("no_finding", "ANON1", 5),
    ]
    assert rows[0].id == "CR.1.2.840.20200320.1003000225002.png"
    assert [record.message for record in caplog.records] == ["2 rows left out: inconclusive"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"finding": ""}, "empty finding"),
        ({"finding": "SARS"}, "unknown finding 'SARS', known: no finding, covid-19"),
        ({"view": "?"}, "unknown view '?'"),
        ({"patientid": ""}, "empty patientid"),
        ({"imagename": "../x.png"}, "unsafe id"),
    ],
)
def test_an_actualmed_row_that_cannot_be_used_is_rejected(
    actualmed: Path, values: dict[str, str], reason: str
) -> None:
    setting(actualmed, 5, **values)
    rows, rejects = covid_cxr_actualmed.read(actualmed)
    assert [(reject.line, reason in reject.reason) for reject in rejects] == [(5, True)]
    assert len(rows) == 3


REAL = {
    "covid_19": 195,
    "no_finding": 14,
    "sars": 12,
    "pneumocystis": 8,
    "pneumonia": 7,
    "klebsiella": 6,
    "covid_19_ards": 5,
    "ards": 4,
    "e_coli": 4,
    "varicella": 4,
    "lipoid": 3,
    "legionella": 2,
    "streptococcus": 1,
    "influenza": 1,
}


@pytest.mark.parametrize(
    ("module", "counts", "patients", "covid"),
    [
        (covid_cxr, REAL, 175, 200),
        (covid_cxr_actualmed, {"covid_19": 17, "no_finding": 12}, 26, 17),
    ],
)
def test_the_real_images_are_all_taken(
    real_data: Path,
    tmp_path: Path,
    module: ModuleType,
    counts: dict[str, int],
    patients: int,
    covid: int,
) -> None:
    rows, rejects = module.read(real_data / module.NAME)
    assert not rejects
    assert Counter(row.label for row in rows) == counts
    how = shards.Preparation(size=64, max_rejects=0.0, workers=1)
    dataset = writing.write(
        tmp_path / "out",
        name=module.NAME,
        classes=module.CLASSES,
        rows=rows,
        rejects=rejects,
        how=how,
        tasks=module.TASKS,
    )
    assert len(stored(dataset)) == sum(counts.values())
    assert alone(dataset) == patients
    splits = dataset.as_task("covid").splits.values()
    assert sum(split["class_counts"]["covid_19"] for split in splits) == covid
    assert all(min(split["class_counts"].values()) >= 1 for split in splits)
