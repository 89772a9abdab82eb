"""Damaged folders of records: whatever reads them ends well or in one line, and writes below --out.

Seeded; `FUZZ_RECORDS` says how many folders are damaged, `FUZZ_SEED` from which seed on.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import shutil
from pathlib import Path

import pytest
from damage_helpers import change_json, ends_in_one_line
from data_helpers import contents

from attnrobust import config
from attnrobust.console import run_command
from attnrobust.data import corrupted, inputs, records
from attnrobust.data.raw import SPLITS
from attnrobust.stages.context import Context

NUMBER = int(os.environ.get("FUZZ_RECORDS", "40"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
DATA = config.Data(dataset="demo", image_size=16)


def damage(rng: random.Random, root: Path) -> str:
    """Spoil a shard or what describes them, in one of many ways, which is given back in words."""
    described = root / "dataset.json"
    shards = sorted(root.glob("*.tfrecord"))
    how = rng.choice(["value", "value", "value", "gone", "cut", "bits", "other", "link", "told"])
    path = rng.choice([described, *shards]) if how in ("gone", "cut", "bits") else shards[0]
    content = path.read_bytes()
    if how == "value":
        described.write_text(change_json(rng, described.read_text()))
    elif how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[: rng.randrange(len(content))])
    elif how == "other":
        path.write_bytes(rng.randbytes(len(content)))
    elif how == "link":
        path.rename(root.with_name("elsewhere"))
        path.symlink_to(root.with_name("elsewhere"))
    else:
        spoilt = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(spoilt))
        if how == "told":  # with a checksum that fits
            before, now = (hashlib.sha256(each).hexdigest() for each in (content, spoilt))
            described.write_text(described.read_text().replace(before, now))
    return f"{how} {path.name}"


def read(root: Path) -> int:
    """All examples of all splits, as stages read them; damage is named as by them."""

    def work() -> None:
        dataset = records.load(root)
        for split in SPLITS:
            if not dataset.count(split):
                continue
            batches = inputs.evaluation_batches(dataset, split, data=DATA, batch_size=64)
            seen = [id_ for batch in batches.as_numpy_iterator() for id_ in batch["id"]]
            assert len(seen) == len(set(seen)) == dataset.count(split)

    def named() -> None:
        try:
            work()
        except Exception as error:
            if type(error).__name__ == "DataLossError":  # as pipeline.run_stages
                Context.verify(_Walk(root))  # type: ignore[arg-type]
            raise

    return run_command(named, debug=False)


class _Walk:
    def __init__(self, root: Path) -> None:
        self.root = root

    def dataset(self) -> records.Dataset:
        return records.load(self.root)


def copy(root: Path) -> int:
    words = ["--records", str(root), "--out", str(root.with_name("out")), "--workers", "1"]
    return corrupted.main([*words, "--corruptions", "jpeg"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + NUMBER))
def test_damaged_records_end_in_one_line(
    seed: int, records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    root = Path(shutil.copytree(records_folder, tmp_path / "records"))
    said = damage(rng, root)
    before = contents(tmp_path)
    for command in (read, copy):
        what = f"{command.__name__} after {said}"
        _, errors = ends_in_one_line(functools.partial(command, root), what, capsys)
        assert not errors or str(root) in errors[0], said
    after = contents(tmp_path)
    assert {name: after.get(name) for name in before} == before, said
    assert all(name.startswith(("out/", "out.partial/")) for name in {*after} - {*before}), said
    if (tmp_path / "out").exists():
        described = json.loads((tmp_path / "out" / "dataset.json").read_text())
        assert sum(described["splits"][split]["count"] for split in SPLITS) == 120
