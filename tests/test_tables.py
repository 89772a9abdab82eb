"""Tables as they come: what a stray quote, a NUL, a short row or another encoding may not do."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from data_helpers import colours, encoded

from attnrobust.data import raw, rejected, tables
from attnrobust.data.raw import Reject
from attnrobust.errors import UserError
from tfrecords import chestxray14, covid_cxr, covid_cxr_actualmed, eyepacs, ham10000

Lines = list[str]

# For each reader: table, header with free text at its end, a row by its number, the image's file.
HAM = (
    "HAM10000_metadata.csv",
    "lesion_id,image_id,dx,dx_type,age,sex,localization",
    lambda n: f"HAM_{n},ISIC_{n},{('nv', 'mel', 'bkl', 'bcc')[n % 4]},histo,50,male,back",
    "images/ISIC_{}.jpg",
)
EYES = (
    "trainLabels.csv",
    "image,level,remark",
    lambda n: f"{n}_left,{n % 5},back",
    "train/{}_left.jpeg",
)
XRAYS = (
    "Data_Entry_2017.csv",
    "Image Index,Finding Labels,Follow-up #,Patient ID,View",
    lambda n: f"{n:08d}_000.png,No Finding,0,{n},back",
    "images/{:08d}_000.png",
)
COVID = (
    "metadata.csv",
    "patientid,finding,view,filename,other",
    lambda n: f"{n},COVID-19,PA,case-{n}.jpg,back",
    "images/case-{}.jpg",
)
ACTUALMED = (
    "metadata.csv",
    "patientid,finding,view,imagename,notes",
    lambda n: f"A{n},COVID-19,PA,case-{n}.png,back",
    "images/case-{}.png",
)
READERS = {
    ham10000: HAM,
    eyepacs: EYES,
    chestxray14: XRAYS,
    covid_cxr: COVID,
    covid_cxr_actualmed: ACTUALMED,
}
every_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.NAME)
IMAGE = encoded(colours(0))


def make(folder: Path, reader, change: Callable[[Lines], object] = lambda lines: None) -> Path:
    """A raw folder of 20 rows, lines 2 to 21, whose lines may be changed first."""
    name, header, row, image = READERS[reader]
    lines = [header, *(row(number) for number in range(20))]
    change(lines)
    for number in range(20):
        path = folder / image.format(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(IMAGE)
    (folder / name).write_bytes("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
    return folder


def swap(number: int, before: str, after: str) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        assert before in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(before, after)

    return change


def both(*changes: Callable[[Lines], object]) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        for one in changes:
            one(lines)

    return change


def refused(folder: Path, reader) -> str:
    with pytest.raises(UserError) as error:
        reader.read(folder)
    message = str(error.value)
    assert message.startswith(str(folder / READERS[reader][0]))
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    return message


@every_reader
def test_a_plain_table_is_read_whole(reader, tmp_path: Path) -> None:
    rows, rejects = reader.read(make(tmp_path, reader))
    assert ([row.line for row in rows], rejects) == (list(range(2, 22)), [])


@every_reader
@pytest.mark.parametrize(("first", "second"), [('"back', '"back'), ('"back', 'back"')])
@pytest.mark.parametrize("last", [7, 17])
def test_two_stray_quotes_swallow_no_row(reader, first, second, last, tmp_path: Path) -> None:
    change = both(swap(6, "back", first), swap(last, "back", second))
    message = refused(make(tmp_path, reader, change), reader)
    assert f"line 6, column {READERS[reader][1].split(',')[-1]}" in message


@every_reader
def test_a_stray_quote_in_the_middle_swallows_no_row(reader, tmp_path: Path) -> None:
    def middle(number: int, *, opens: bool) -> Callable[[Lines], None]:
        def change(lines: Lines) -> None:
            first, rest = lines[number - 1].split(",", 1)
            lines[number - 1] = f'{first},"{rest}' if opens else f'{first}",{rest}'

        return change

    change = both(middle(6, opens=True), middle(9, opens=False))
    assert "line 6" in refused(make(tmp_path, reader, change), reader)


@every_reader
@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('"back', "line 6, column", "never closed"),
        ("back, left", "line 6: ", "more fields than the header's"),
    ],
    ids=["one stray quote", "a field too many"],
)
def test_a_broken_row_is_named_with_its_line(
    reader, text: str, place: str, reason: str, tmp_path: Path
) -> None:
    message = refused(make(tmp_path, reader, swap(6, "back", text)), reader)
    assert place in message
    assert reason in message


@every_reader
def test_a_quote_in_the_header_is_one_line(reader, tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[0] = lines[0].replace(",", ',"', 1)

    assert "line 1, field 2" in refused(make(tmp_path, reader, change), reader)


@every_reader
def test_lines_in_quoted_notes_are_no_rows_and_lines_are_counted(reader, tmp_path: Path) -> None:
    notes = '"Fever, cough.\nDay 3, worse, ""a bit"".\n\nDay 9: better."'
    change = both(swap(3, "back", notes), lambda lines: lines.insert(9, "nonsense"))
    rows, rejects = reader.read(make(tmp_path, reader, change))
    assert [reject.line for reject in rejects] == [13]
    assert [row.line for row in rows][:4] == [2, 3, 7, 8]
    assert len(rows) == 20


@every_reader
@pytest.mark.parametrize("place", [0, 1])
def test_a_nul_byte_is_named(reader, place: int, tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        fields = lines[4].split(",")
        fields[place] += "\0x"
        lines[4] = ",".join(fields)

    message = refused(make(tmp_path, reader, change), reader)
    assert f"line 5, column {READERS[reader][1].split(',')[place]}: a NUL byte" in message


@every_reader
def test_a_short_row_is_rejected_and_shifts_nothing(reader, tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        fields = lines[4].split(",")
        lines[4] = ",".join(fields[:-2] + fields[-1:])

    rows, rejects = reader.read(make(tmp_path, reader, change))
    assert [reject.line for reject in rejects] == [5]
    assert "which is missing is a guess" in rejects[0].reason
    assert len(rows) == 19


@every_reader
def test_a_comma_more_at_the_end_of_every_line_is_form(reader, tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[1:] = [line + "," for line in lines[1:]]

    assert len(reader.read(make(tmp_path, reader, change))[0]) == 20


@every_reader
@pytest.mark.parametrize("form", ["{}", "{} ", " {}"])
def test_a_doubled_column_is_named(reader, form: str, tmp_path: Path) -> None:
    column = READERS[reader][1].split(",")[1]

    def change(lines: Lines) -> None:
        lines[0] += "," + form.format(column)
        lines[1:] = [line + ",4" for line in lines[1:]]

    message = refused(make(tmp_path, reader, change), reader)
    assert f"column {column} stands twice" in message


@every_reader
@pytest.mark.parametrize(
    ("encoding", "reason"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-32", "expected text"),
        ("latin-1", "line 3, field"),
        ("cp1252", "is not UTF-8"),
    ],
)
def test_another_encoding_is_one_line(reader, encoding: str, reason: str, tmp_path: Path) -> None:
    path = make(tmp_path, reader) / READERS[reader][0]
    path.write_bytes(path.read_text().replace("back", "Rücken", 2).encode(encoding))
    message = refused(tmp_path, reader)
    assert reason.replace("3", "2") in message
    assert "not a readable CSV" in message


@every_reader
def test_a_byte_order_mark_is_form_and_two_are_one_line(reader, tmp_path: Path) -> None:
    path = make(tmp_path, reader) / READERS[reader][0]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(reader.read(tmp_path)[0]) == 20
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert "two byte order marks" in refused(tmp_path, reader)


@every_reader
def test_separators_and_line_ends(reader, tmp_path: Path) -> None:
    path = make(tmp_path, reader) / READERS[reader][0]
    text = path.read_text()
    for form in (
        text.replace(",", "\t"),
        text.replace("\n", "\r\n"),
        text.replace("\n", "\r"),
        "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines()),
    ):
        path.write_bytes(form.encode())
        rows, rejects = reader.read(tmp_path)
        assert ([row.line for row in rows], rejects) == (list(range(2, 22)), [])
    path.write_text(text.replace(",", ";"))
    assert "semicolons; expected commas" in refused(tmp_path, reader)
    path.write_text("# exported 2020\n" + text)
    assert "it has # exported 2020" in refused(tmp_path, reader)
    path.write_bytes(b"PK\x03\x04" + text.encode())
    assert "Excel" in refused(tmp_path, reader)


@pytest.mark.parametrize("name", ["train_val_list.txt", "test_list.txt"])
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_list_in_another_encoding_is_one_line(name: str, encoding: str, tmp_path: Path) -> None:
    make(tmp_path, chestxray14)
    for list_ in ("train_val_list.txt", "test_list.txt"):
        (tmp_path / list_).write_text("")
    (tmp_path / name).write_bytes("00000001_000.png\né\n".encode(encoding))
    with pytest.raises(UserError, match=f"{name}: not a readable list"):
        chestxray14.read(tmp_path)


@pytest.mark.parametrize("sign", ["\r", "\n", "\x0b", "\u2028"])
def test_a_line_break_in_an_id_does_not_break_the_rejects(sign: str, tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    rejected.write(path, [Reject(3, f"a{sign}b_left", "no"), Reject(4, "c", "no")])
    with path.open(newline="") as file:
        assert list(csv.reader(file))[1:] == [["3", f"a{sign}b_left", "no"], ["4", "c", "no"]]
    assert f'"a{sign}b_left"' in path.read_bytes().decode()


def test_a_bare_cr_inside_quotes_is_part_of_its_field(tmp_path: Path) -> None:
    rows, rejects = eyepacs.read(make(tmp_path, eyepacs, swap(4, "2_left", '"2\r_left"')))
    assert [(reject.line, reject.id) for reject in rejects] == [(4, "2\r_left")]
    assert len(rows) == 19


def test_ids_may_have_their_suffix(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[1:] = [line.replace("_left", "_left.JPEG") for line in lines[1:]]

    rows, rejects = eyepacs.read(make(tmp_path, eyepacs, change))
    assert ([row.id for row in rows][:2], rejects) == (["0_left", "1_left"], [])
    assert raw.bare_ids(["a.png", "a.b", "x"]) == ["a", "a.b", "x"]


def test_the_line_of_a_record_is_an_editors(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('\n\na,b\n1,"x\ny"\n\n2,z\n')
    found = tables.parse(path, [("a",), ("c", "b")], prose=["b"])
    assert [(record.line, record.end) for record in found.records] == [(4, 5), (7, 7)]
    assert [record.fields for record in found.records] == [["1", "x\ny"], ["2", "z"]]


@every_reader
def test_a_stray_quote_in_the_header_swallows_no_row(reader, tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        first, rest = lines[0].rsplit(",", 1)
        lines[0] = f'{first},"{rest}'
        lines[17] += '"'

    message = refused(make(tmp_path, reader, change), reader)
    if reader is covid_cxr_actualmed:  # which needs that column
        assert "no column notes" in message
    else:
        assert "a quote opened here swallows line 2, which looks like a row of its own" in message
