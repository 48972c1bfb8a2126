"""Pictures and recordings that tests draw: two kinds of each, which any encoder can tell apart."""

import numpy as np
from PIL import Image
from scipy.io import wavfile


def stripes(i, side=16):
    """Return a picture of stripes across (even i) or down (odd i), with noise of its own."""
    wave = 100 + 80 * np.sign(np.sin(2 * np.pi * (np.arange(side) + i % 5) / 6))
    grid = np.broadcast_to(wave, (side, side)) if i % 2 else np.broadcast_to(wave[:, None], (side, side))
    noise = np.random.default_rng(i).normal(0, 8, (side, side, 3))
    return np.clip(grid[..., None] * [1.0, 0.9, 0.7] + noise, 0, 255).astype(np.uint8)


def draw_pictures(folder, n, side=16, form="png"):
    """Draw n pictures into a folder, and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{i:03d}.{form}" for i in range(n)]
    for i, name in enumerate(names):
        Image.fromarray(stripes(i, side)).save(folder / name)
    return names


def record(folder, n, n_samples=600, rate=8000):
    """Write n recordings, of a low (even) or a high tone, into a folder, and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{i:03d}.wav" for i in range(n)]
    for i, name in enumerate(names):
        phase = np.random.default_rng(i).uniform(0, 6)
        wave = np.sin(phase + np.arange(n_samples - i) * (0.2 if i % 2 else 1.1))
        wavfile.write(folder / name, rate, np.rint(20000 * wave).astype(np.int16))
    return names
