"""From a folder of 8,000 JPEGs to picks: ``python -m bench.pictures --out bench/results/pictures.json``.

The pictures are drawn into a temporary folder: smooth colours, a few shapes, and noise, 640 x 480 each. Then
``dual-jax select FOLDER -n 50`` runs at its defaults in a process of its own, without compiled programs of
earlier runs. The record has its CPU seconds (user and system, of all threads), the seconds on the clock, the
load of the machine before and after, and the receipt's own times. A load above the number of cores says that
the clock also counts the work of others.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.record import write

N, WIDTH, HEIGHT, N_PICKS = 8000, 640, 480, 50
N_KINDS, N_GRAINS = 20, 16  # of grounds and shapes, and of noise


def draw(path: Path, i: int) -> None:
    """Draw a picture: one of a few kinds, each time with other places, colours and noise."""
    from PIL import Image, ImageDraw

    rng, kind = np.random.default_rng(i), np.random.default_rng(i % N_KINDS)
    coarse = kind.integers(0, 256, (4, 5, 3)) + rng.normal(0, 20, (4, 5, 3))
    ground = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
    image = ground.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = kind.uniform(0.1, 0.7, 2) + rng.normal(0, 0.05, 2)
        w, h = kind.uniform(0.1, 0.4, 2)
        box = (x * WIDTH, y * HEIGHT, (x + w) * WIDTH, (y + h) * HEIGHT)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        (pen.ellipse if kind.random() < 0.5 else pen.rectangle)(box, fill=colour)
    Image.blend(image, _grain(i % N_GRAINS), 0.15).save(path, quality=85)


@cache
def _grain(place: int) -> Any:
    """Return grey noise of the size of a picture."""
    from PIL import Image

    noise = np.random.default_rng(place).normal(128, 30, (HEIGHT, WIDTH))
    return Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).convert("RGB")


def measure(folder: Path, out: Path) -> dict[str, Any]:
    """Return what one run of the command took."""
    words = ["select", str(folder), "-n", str(N_PICKS), "--no-compile-cache", "--out", str(out)]
    load, begun = os.getloadavg(), time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "dual_jax", *words], check=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begun
    receipt = json.loads(out.with_suffix(".json").read_text())
    return {
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "wall_seconds": round(wall, 1),
        "load": {"before": load, "after": os.getloadavg()},
        "peak_mib": round(after.ru_maxrss / 1024),
        "receipt_seconds": receipt["seconds"],
        "stability": receipt["input"]["embedding"]["stability"],
        "steps": receipt["steps"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=N, help="pictures; default: %(default)s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "photos"
        folder.mkdir()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda i: draw(folder / f"{i:05d}.jpg", i), range(args.n)))
        size = sum(path.stat().st_size for path in folder.iterdir())
        record = {"n": args.n, "pixels": [WIDTH, HEIGHT], "n_picks": N_PICKS, "bytes": size}
        write(args.out, [record | measure(folder, Path(name) / "picks.csv")])


if __name__ == "__main__":
    main()
