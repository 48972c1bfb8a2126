"""Recordings as series: one channel, one rate, one length; what cannot be read is named."""

import struct

import numpy as np
import pytest
from scipy.io import wavfile

from dual_jax.data.errors import InputError
from dual_jax.data.recordings import MAX_LENGTH, read_recordings

WAVE = np.sin(np.arange(400) / 5)


def write_24_bits(path, values, rate):
    """Write one channel of 24 bits, which SciPy can read but not write."""
    whole = np.rint(values * (2**23 - 1)).astype("<i4")
    data = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    form = struct.pack("<HHIIHH", 1, 1, rate, 3 * rate, 3, 24)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)


def test_every_depth_gives_the_same_wave(tmp_path):
    wavfile.write(tmp_path / "8.wav", 8000, np.rint(127 * WAVE + 128).astype(np.uint8))
    wavfile.write(tmp_path / "16.wav", 8000, np.rint(32767 * WAVE).astype(np.int16))
    write_24_bits(tmp_path / "24.wav", WAVE, 8000)
    wavfile.write(tmp_path / "32.wav", 8000, np.rint((2**31 - 1) * WAVE).astype(np.int32))
    wavfile.write(tmp_path / "float.wav", 8000, WAVE.astype(np.float32))
    found = read_recordings(["8.wav", "16.wav", "24.wav", "32.wav", "float.wav"], tmp_path)
    assert (found.rate, found.values.shape) == (8000, (5, 400))
    np.testing.assert_allclose(found.values[1:], [WAVE] * 4, atol=1e-4)
    np.testing.assert_allclose(found.values[0], WAVE, atol=0.02)  # a step of 8 bits is .008


def test_channels_are_averaged(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, np.stack([WAVE, -0.5 * WAVE], axis=1))
    found = read_recordings(["a.wav"], tmp_path).values[0]
    np.testing.assert_allclose(found, 0.25 * WAVE, atol=1e-6)


def test_rates_become_the_most_common_one(tmp_path):
    def tone(rate):
        return np.sin(2 * np.pi * 200 * np.arange(rate // 4) / rate)

    for name, rate in [("a", 8000), ("b", 8000), ("c", 11025)]:
        wavfile.write(tmp_path / f"{name}.wav", rate, tone(rate))
    found = read_recordings(["a.wav", "b.wav", "c.wav"], tmp_path)
    assert found.rate == 8000
    middle = slice(200, 1800)  # a filter needs some samples at the ends
    np.testing.assert_allclose(found.values[2, middle], found.values[0, middle], atol=0.02)


def test_what_is_heard_is_kept_at_16_khz_and_ultrasound_as_it_is(tmp_path):
    for rate, wanted in [(44_100, 16_000), (250_000, 250_000)]:
        wavfile.write(tmp_path / f"{rate}.wav", rate, WAVE)
        assert read_recordings([f"{rate}.wav"], tmp_path).rate == wanted


def test_shorter_ones_are_repeated_and_longer_ones_give_stretches(tmp_path):
    ramp = np.linspace(0, 1, 3 * MAX_LENGTH)
    wavfile.write(tmp_path / "long.wav", 8000, ramp)
    wavfile.write(tmp_path / "short.wav", 8000, WAVE)
    found = read_recordings(["long.wav", "short.wav"], tmp_path)
    assert found.values.shape == (2, MAX_LENGTH)
    starts = found.values[0, :: MAX_LENGTH // 8]
    np.testing.assert_allclose(np.diff(starts), np.diff(starts)[0], atol=1e-4)  # evenly spread
    assert found.values[0, -1] == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found.values[1, 400:800], WAVE, atol=1e-6)
    assert "1 longer ones 8 stretches spread evenly, 1 shorter ones repeated" in found.note


def test_new_recordings_take_the_rate_and_length_of_the_former(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, WAVE)
    assert read_recordings(["a.wav"], tmp_path, rate=4000, length=160).values.shape == (1, 160)


def test_200_malformed_recordings_are_each_read_or_skipped_by_name(tmp_path):
    rng = np.random.default_rng(0)
    wavfile.write(tmp_path / "whole.wav", 8000, np.rint(32767 * WAVE).astype(np.int16))
    whole, names = (tmp_path / "whole.wav").read_bytes(), ["whole.wav"]
    for i in range(200):
        data = bytearray(whole)
        if i % 3 == 0:
            data = data[: rng.integers(0, 80)]
        elif i % 3 == 1:
            data[rng.integers(0, 44)] = rng.integers(256)
        else:
            data = bytearray(rng.bytes(100))
        names.append(f"{i}.wav")
        (tmp_path / names[-1]).write_bytes(data)
    found = read_recordings(names, tmp_path)
    assert np.isfinite(found.values).all()
    assert [name for name, is_read in zip(names, found.is_read, strict=True) if not is_read] == [
        *found.skipped
    ]
    assert len(found.skipped) >= 100
    assert all(reason and "\n" not in reason for reason in found.skipped.values())


def test_a_file_with_infinite_numbers_or_too_few_is_skipped(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, np.full(100, np.inf, np.float32))
    wavfile.write(tmp_path / "b.wav", 8000, WAVE[:5])
    with pytest.raises(InputError, match=r"a\.wav holds numbers that are not finite|b\.wav has 5 samples"):
        read_recordings(["a.wav", "b.wav"], tmp_path)
