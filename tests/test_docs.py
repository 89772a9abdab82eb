"""Pages: links lead somewhere, commands parse, examples run, messages are the code's own."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import itertools
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

import experiments
from attnrobust import cli, config, run
from attnrobust.corruptions import __main__ as sheet
from attnrobust.data import corrupted, prepare, records
from attnrobust.errors import UserError
from tfrecords import brain_mri, own, synthetic

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks/README.md"]
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def loaded(path: Path) -> ModuleType:
    """A file that is no part of a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = loaded(ROOT / "docs/hooks.py")


def anchors(text: str) -> set[str]:
    """As Markdown's `toc` makes them of headings, fenced code left out."""
    headings = HEADING.findall(FENCE.sub("", text))
    return {
        re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head.lower()).strip()) for head in headings
    }


def dead(text: str, page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    found = []
    for target in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.is_file() or (anchor and anchor not in anchors(there.read_text())):
            found.append(target)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_every_relative_link_and_picture_is_there(name: str) -> None:
    page = PAGES[name]
    assert dead(hooks.filled(page.read_text(), page), page) == []


def test_dead_links_are_seen(tmp_path: Path) -> None:
    page = tmp_path / "here.md"
    text = "# On ε, here\n\n[a](nowhere.md) [b](here.md#no-such) [c](#on-ε-here) ![d](here.md#x)\n"
    page.write_text(text)
    assert dead(text, page) == ["nowhere.md", "here.md#no-such", "here.md#x"]


# A shell that only says what it would run, loops and variables being those of the page.
SHELL = """
say() { printf '%s\\x1f' "$@"; echo; }
for name in attnrobust python make pip; do eval "$name() { say $name \\"\\$@\\"; }"; done
command_not_found_handle() { say "$@"; }
PATH=/nowhere
"""


def said(block: str, folder: Path) -> list[list[str]]:
    """The commands of a block, split into words by the shell itself."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here, which reads the pages' commands")
    # What has a folder in its name is looked for there, not among the shell's functions.
    plain = re.sub(r"^\.venv[\w-]*/bin/", "", block, flags=re.MULTILINE)
    done = subprocess.run(
        [bash, "-c", SHELL + plain], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [line.rstrip("\x1f").split("\x1f") for line in done.stdout.splitlines()]


def settings_of(words: Sequence[str]) -> list[str]:
    return [after for word, after in itertools.pairwise(words) if word == "--set"]


def parse_run(words: Sequence[str]) -> None:
    """An experiment's command line: its options, stages and settings."""
    experiment = experiments.load(words[0])
    assert run.main(experiment, words[1:]) == 0
    config.with_settings(experiment, settings_of(words))


def parse_attnrobust(words: Sequence[str]) -> None:
    if words[0] == "run":
        parse_run(words[1:])
    if words != ["--version"]:
        assert cli.main(words) == 0


def parse(words: Sequence[str]) -> None:
    """Exits where argparse refuses; fails where a name or setting is not known."""
    program, *rest = words
    if program == "attnrobust":
        parse_attnrobust(rest)
    elif program == "python" and rest[0] == "-m":
        module, arguments = rest[1], rest[2:]
        if module == "attnrobust":
            parse_attnrobust(arguments)
        elif module.startswith("experiments."):
            parse_run([module.removeprefix("experiments."), *arguments])
        elif module == "attnrobust.corruptions":
            assert sheet.main(arguments) == 0
        elif module == "tfrecords.synthetic":
            assert synthetic.main(arguments) == 0
        elif module.startswith("tfrecords."):
            parse_attnrobust(["prepare", module.removeprefix("tfrecords."), *arguments])
        else:
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    elif program == "python" and rest[0].endswith(".py"):
        assert (ROOT / rest[0]).is_file()
    elif program == "make":
        made = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= set(made)
    else:
        assert program.endswith("pip"), words


@pytest.fixture
def nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are parsed; what they would then do is left out."""
    for module in (cli, run, prepare, own, brain_mri, corrupted, sheet):
        monkeypatch.setattr(module, "run_command", lambda work, **how: 0)
    monkeypatch.setattr(synthetic, "write_dataset", lambda *place, **how: None)


COMMANDED = [name for name, page in PAGES.items() if "" in dict(FENCE.findall(page.read_text()))]


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("name", COMMANDED)
def test_every_command_of_a_page_parses(name: str, tmp_path: Path) -> None:
    for language, block in FENCE.findall(PAGES[name].read_text()):
        if language == "":
            for words in said(block, tmp_path):
                parse(words)


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize(
    "line",
    [
        "attnrobust run ham10000.mobilenet_gap trian",
        "attnrobust run ham10000.mobilenet_gap train --set training.epoch=3",
        "attnrobust run ham10000.no_such train",
        "attnrobust prepare ham10000 --raw DIR --sise 3",
        "attnrobust study 'a.*'",
        "attnrobust corrupt --records a",
        "make no-such",
        "pyhton -m attnrobust demo",
    ],
)
def test_a_command_that_would_be_refused_is_seen(line: str, tmp_path: Path) -> None:
    (words,) = said(line, tmp_path)
    with pytest.raises((SystemExit, UserError, ModuleNotFoundError, AssertionError)):
        parse(words)


def test_the_shell_spreads_loops_and_variables(tmp_path: Path) -> None:
    block = 'A="attnrobust run"\nfor i in 1 2; do $A x_$i "a b"; done  # twice\n'
    assert said(block, tmp_path) == [["attnrobust", "run", f"x_{i}", "a b"] for i in (1, 2)]


def texts() -> list[str]:
    """All strings of the code, a `…` where a value is put in, and the Makefile."""
    found = [(ROOT / "Makefile").read_text()]
    for folder in ("attnrobust", "tfrecords"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub(r"%[-.\d]*[sdgf]", "…", node.value))
                elif isinstance(node, ast.JoinedStr):
                    parts = (
                        part.value if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )
                    found.append("".join(map(str, parts)))
    return found


def test_every_message_of_what_to_do_when_is_one_of_the_code() -> None:
    page = (ROOT / "docs/when.md").read_text()
    messages = re.findall(r"^\| (?:[a-z ]+ )?`([^`]+ [^`]+)`", page, re.MULTILINE)
    known = texts()
    assert len(messages) > 30
    missing = [text for text in messages if not any(alike(text, other) for other in known)]
    assert missing == []
    assert not any(alike("no such words … as these", other) for other in known)


def alike(message: str, text: str) -> bool:
    """Whether the parts of a message between its `…` stand in the text, in that order."""
    parts = (re.escape(part.strip()) for part in message.split("…"))
    return re.search(".*".join(parts), text, re.DOTALL) is not None


def test_the_reader_of_own_data_reads_a_folder(tmp_path: Path) -> None:
    page = (ROOT / "docs/own-data.md").read_text()
    (code,) = (
        block
        for language, block in FENCE.findall(page)
        if language == "python" and "prepare.main" in block
    )
    (tmp_path / "mine.py").write_text(code)
    folder = tmp_path / "raw"
    (folder / "images").mkdir(parents=True)
    for name in ("a", "b", "c"):
        cv2.imwrite(str(folder / "images" / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    lines = ["image,patient,class", "a,1,benign", "b.png,1,malignant", "c,2,mole", "d,3,benign"]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    reader = loaded(tmp_path / "mine.py")
    rows, rejects = reader.read(folder)
    assert [(row.id, row.label, row.group, row.line) for row in rows] == [
        ("a", "benign", "1", 2),
        ("b", "malignant", "1", 3),
    ]
    assert [(reject.line, reject.id) for reject in rejects] == [(4, "c"), (5, "d")]
    rows, _ = reader.read(folder, split_by="image")
    assert [row.group for row in rows] == ["a", "b"]
    with pytest.raises(SystemExit) as ended:
        reader.main(["--help"])
    assert ended.value.code == 0


def test_the_lines_on_own_images_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/own-data.md").read_text()
    (code,) = (
        block
        for language, block in FENCE.findall(page)
        if language == "python" and "own.read" in block
    )
    for value, name in enumerate(("x/a", "x/b", "y/c", "y/d")):
        path = tmp_path / "my_images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((8, 8, 3), 50 * value, np.uint8))
    (tmp_path / "lines.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    loaded(tmp_path / "lines.py")
    assert "0 x (2), 1 y (2)" in capsys.readouterr().out
    assert records.load(tmp_path / "records").count("test") == 4


def test_every_package_has_a_page_in_the_reference() -> None:
    packages = {path.parent.name for path in (ROOT / "attnrobust").glob("*/__init__.py")}
    pages = {path.stem for path in (ROOT / "docs/api").glob("*.md")} - {"index"}
    assert pages == packages
    for name in pages:
        assert f"::: attnrobust.{name}\n" in (ROOT / f"docs/api/{name}.md").read_text()


def test_every_page_stands_in_the_navigation() -> None:
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(
        str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")
    )


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
