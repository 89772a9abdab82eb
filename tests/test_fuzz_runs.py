"""Damaged run folders: commands on them end well or in one line, and write below --out alone.

Seeded; `FUZZ_RUNS` says how many folders are damaged, `FUZZ_SEED` from which seed on.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
from pathlib import Path

import pytest
from damage_helpers import damage, ends_in_one_line, evaluate, files, report, whole
from data_helpers import contents

NUMBER, SEED = int(os.environ.get("FUZZ_RUNS", "60")), int(os.environ.get("FUZZ_SEED", "0"))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        whole(folder / "runs")
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_pages")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(SEED, SEED + NUMBER))
def test_a_damaged_run_ends_in_one_line(
    seed: int,
    given: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = random.Random(seed)
    here = Path(shutil.copytree(given, tmp_path / "here"))
    monkeypatch.chdir(here)
    (run,) = (file.parent for file in here.rglob("config.json"))
    words = []
    whole = [each for each in files(run) if each.is_file()]
    for _ in range(rng.choice([1, 1, 1, 2])):
        path = whole.pop(whole.index(rng.choice(whole)))
        words.append(f"{path.relative_to(run)}: {damage(rng, path)}")
    for command in (report, evaluate):
        before = contents(tmp_path)
        out = tmp_path / "out"
        said = " and ".join(words)
        of = (here / "runs", out) if command is report else (run,)
        what = f"{command.__name__} after {said}"
        code, _ = ends_in_one_line(functools.partial(command, *of), what, capsys)
        assert code in (0, 1), said
        own = ("here/" + str(run.relative_to(here)),) if command is evaluate else ("out/",)
        changed = {
            name
            for name, content in contents(tmp_path).items()
            if before.get(name) != content and not name.startswith(own)
        }
        assert not changed, said
        assert not {*before} - {*contents(tmp_path)}, said
