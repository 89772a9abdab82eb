"""Draws a dermatoscopy-like data set in HAM10000's own layout, for demos and tests.

A lesion is drawn once as `Lesion` (class signs mixed with those of a class it may be mistaken
for) and then photographed once or twice. Nothing here is a real photograph.

    attnrobust draw --out DIR [--images 1200] [--size 128] [--seed 0]
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from attnrobust.console import Parser, progress, run_command
from attnrobust.errors import UserError
from tfrecords.synthetic_drawing import draw_lesion, photograph
from tfrecords.synthetic_lesions import new_lesion

__all__ = ["draw_lesion", "main", "new_lesion", "photograph", "write_dataset"]

DRAWING_VERSION = 1  # raise when the same seed would draw other pixels or rows
MIN_IMAGES, MIN_SIZE = 10, 32
TABLE, STAMP = "HAM10000_metadata.csv", "synthetic.json"
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
CLASS_WEIGHTS = {  # share of lesions; HAM10000's own 67 % nv would leave rare classes empty
    "nv": 0.28,
    "mel": 0.18,
    "bkl": 0.18,
    "bcc": 0.12,
    "akiec": 0.10,
    "vasc": 0.07,
    "df": 0.07,
}
AGES = {"nv": 45, "mel": 60, "bkl": 64, "bcc": 66, "akiec": 66, "vasc": 51, "df": 52}
SITES = ("back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest")
PROOFS = {  # how the diagnosis was confirmed; HAM10000's malignant classes are always "histo"
    "nv": ("histo", "follow_up", "consensus"),
    "bkl": ("histo", "consensus", "confocal"),
    "vasc": ("histo", "consensus"),
    "df": ("histo", "consensus"),
}


def _quota(lesions: int) -> list[str]:
    """One dx a lesion by CLASS_WEIGHTS, at least one of each; what rounding leaves is nv."""
    dx = [d for d, share in CLASS_WEIGHTS.items() for _ in range(max(1, int(share * lesions)))]
    return dx + ["nv"] * (lesions - len(dx))


def _plan(images: int, seed: int) -> pd.DataFrame:
    """The metadata table, one row an image, plus `lesion` (number of the lesion drawn)."""
    rng = np.random.default_rng([seed, 0])
    lesions = images - images // 6  # so a fifth of the lesions is photographed twice
    known = []
    numbers = rng.permutation(lesions)
    for lesion, dx in enumerate(rng.permutation(_quota(lesions)).tolist()):
        age = float(np.clip(5 * np.round(rng.normal(AGES[dx], 14) / 5), 5, 85))
        proof = str(rng.choice(PROOFS.get(dx, ("histo",))))
        sex, site = str(rng.choice(("male", "female"))), str(rng.choice(SITES))
        known.append((f"HAM_{numbers[lesion]:07d}", dx, proof, age, sex, site, lesion))
    shots = np.r_[np.arange(lesions), rng.choice(lesions, images - lesions, replace=False)]
    columns = ["lesion_id", "dx", "dx_type", "age", "sex", "localization", "lesion"]
    table = pd.DataFrame([known[i] for i in rng.permutation(shots)], columns=columns)
    table.insert(1, "image_id", [f"ISIC_{24306 + i:07d}" for i in range(images)])
    return table


def _write_one(job: tuple[int, int, str, Path, Path], *, size: int, seed: int) -> None:
    """Draws and writes one (image number, lesion number, dx, JPEG path, mask path)."""
    number, lesion_number, dx, image_path, mask_path = job
    # A generator for each image keeps its pixels the same whichever process draws it.
    lesion = new_lesion(np.random.default_rng([seed, 1, lesion_number]), dx)
    image, mask = photograph(np.random.default_rng([seed, 2, number]), lesion, size)
    jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    image_path.write_bytes(jpeg.tobytes())
    mask_path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def _draw_all(folder: Path, table: pd.DataFrame, size: int, seed: int, workers: int) -> None:
    """Draws every row of the table into the folder, in `workers` processes."""
    for name in (*PARTS, MASKS):
        (folder / name).mkdir()
    jobs = []
    for number, row in enumerate(table.itertuples()):
        image = folder / PARTS[2 * number >= len(table)] / f"{row.image_id}.jpg"
        mask = folder / MASKS / f"{row.image_id}_segmentation.png"
        jobs.append((number, row.lesion, row.dx, image, mask))
    draw = partial(_write_one, size=size, seed=seed)
    with ExitStack() as stack:
        done: Iterable[None] = map(draw, jobs)
        if workers > 1:  # spawned, because a fork of a process that runs TensorFlow can hang
            pool = multiprocessing.get_context("spawn").Pool(workers, cv2.setNumThreads, (1,))
            done = stack.enter_context(pool).imap_unordered(draw, jobs, chunksize=16)
        for _ in progress(done, total=len(jobs), desc="draw", unit="image"):
            pass


def _is_done(out: Path, recipe: dict[str, int]) -> bool:
    """Whether `out` holds this very data set; False if it is free.

    Raises:
        UserError: `out` holds anything else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    # A stamp that is missing or cannot be read is not ours: the folder is refused below.
    with suppress(OSError, ValueError):
        if (out / TABLE).is_file() and json.loads((out / STAMP).read_text()) == recipe:
            return True
    made = ", ".join(f"{name} {value}" for name, value in recipe.items())
    raise UserError(f"{out} exists and is not the drawn data set with {made}; name another folder")


def write_dataset(
    out: Path | str,
    *,
    images: int = 1200,
    size: int = 128,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Writes the data set to `out`, or leaves it alone if it is already there.

    Args:
        out: New or empty folder; filled as `<out>.partial` and renamed at the end.
        images: Number of photographs, at least 10; about five sixths as many lesions.
        size: Height and width in pixels, at least 32.
        seed: 0 or more; on one machine the same seed gives the same bytes, whatever `workers`.
        workers: Processes; None: this one alone, which is quicker up to some thousand images.
            More need the caller's script to have an `if __name__ == "__main__"` guard.

    Raises:
        UserError: A number out of range, or `out` holds anything else.
    """
    out = Path(out)
    recipe = {"images": images, "size": size, "seed": seed, "drawing_version": DRAWING_VERSION}
    for name, least in (("images", MIN_IMAGES), ("size", MIN_SIZE), ("seed", 0)):
        if recipe[name] < least:
            raise UserError(f"--{name} {recipe[name]}: expected at least {least}")
    if _is_done(out, recipe):
        print(f"{out} already holds these {images} drawn images, nothing to do")
        return
    partly = Path(f"{out.absolute()}.partial")
    if partly.exists() and any(partly.iterdir()) and not (partly / STAMP).is_file():
        raise UserError(f"{partly} is in the way and was not written by this command")
    shutil.rmtree(partly, ignore_errors=True)
    partly.mkdir(parents=True)
    (partly / STAMP).write_text(json.dumps(recipe, indent=2) + "\n")
    table = _plan(images, seed)
    _draw_all(partly, table, size, seed, workers or 1)
    table.drop(columns="lesion").to_csv(partly / TABLE, index=False)
    if out.exists():
        out.rmdir()  # empty, and not every system renames onto a folder
    partly.rename(out)
    print(
        f"wrote {images} drawn images of {table.lesion_id.nunique()} lesions, "
        f"{size} x {size} pixels, to {out}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code, 1 with one line on stderr if nothing was written."""
    parser = Parser(
        prog="attnrobust draw",
        description="Draw lesions, with masks, in the layout of HAM10000.",
        epilog="example: attnrobust draw --out drawn --images 800",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--images", type=int, default=1200, help="number (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    return run_command(
        lambda: write_dataset(args.out, images=args.images, size=args.size, seed=args.seed),
        debug=args.debug,
        stopped="nothing is kept, the same command begins anew",
    )


if __name__ == "__main__":
    raise SystemExit(main())
