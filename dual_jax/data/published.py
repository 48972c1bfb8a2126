"""The published files of the data sets: their sums, where they are looked for, and where they come from."""

import os
from pathlib import Path
from typing import NamedTuple

from dual_jax.data.errors import InputError

VARIABLE = "DUAL_JAX_DATA"
DataDir = str | os.PathLike[str] | None


class Download(NamedTuple):
    """Files that come together: the addresses to try, in order, and the files' paths in `SHA256`."""

    urls: tuple[str, ...]
    paths: tuple[str, ...]


def paths_of(name: str) -> list[str]:
    """Return the paths of a data set's files under the folder of all sets; none for a set without files."""
    return [path for download in DOWNLOADS.get(name, ()) for path in download.paths]


def check_name(name: str) -> None:
    """Raise ValueError when no data set of that name has files to fetch."""
    if name not in DOWNLOADS:
        raise InputError(
            f"there is nothing to fetch for {name!r}: known are {', '.join(DOWNLOADS)}; "
            "other built-in sets come with scikit-learn"
        )


def find_file(relative: str, data_dir: DataDir = None) -> Path:
    """Return the file of that name in ``data_dir``, ``$DUAL_JAX_DATA`` or the cache, the first that has it.

    Raises
    ------
    ValueError
        When none has it, saying where it was looked for.
    """
    folder = find_folder(relative, data_dir)
    if folder is not None:
        return folder / relative
    name = next((name for name in DOWNLOADS if relative in paths_of(name)), "NAME")
    looked = " or ".join(map(str, _folders(data_dir)))
    raise InputError(
        f"data file {relative} is not found in {looked}: run `dual-jax data fetch {name}`, or give the "
        f"folder that holds it with --data-dir (data_dir=) or ${VARIABLE}"
    )


def find_folder(relative: str, data_dir: DataDir) -> Path | None:
    """Return the first of the places to look in that has a file, None when none has it."""
    return next((folder for folder in _folders(data_dir) if (folder / relative).is_file()), None)


def cache_dir() -> Path:
    """Return the folder for downloads: ``$XDG_CACHE_HOME/dual_jax/data``, by default in ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(home)) / "dual_jax" / "data"


def _folders(data_dir: DataDir) -> list[Path]:
    """Return where files are looked for, in order."""
    return [Path(folder) for folder in (data_dir, os.environ.get(VARIABLE), cache_dir()) if folder]


def _uci(archive: str, old: str) -> tuple[str, str]:
    """Return UCI's address of an archive, and that of its former site."""
    site = "https://archive.ics.uci.edu"
    return f"{site}/static/public/{archive}.zip", f"{site}/ml/machine-learning-databases/{old}"


def _mnist(name: str) -> Download:
    """Return the addresses of a file of MNIST: the mirrors that PyTorch and Google keep of LeCun's files."""
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    )
    return Download(tuple(f"{mirror}/{name}" for mirror in mirrors), (f"mnist/{name}",))


# Of a .gz file it is the sum of what it holds: mirrors have compressed the same file differently.
SHA256 = {
    "urban_land_cover/training.csv": "c4c1ca9301ba34bb5c3d8984423121d30a1c72db68df4d562bf660710160e529",
    "waveform/waveform-+noise.data": "b95842ef008156c06fbdebd9b6b1c45b058dfd6592d41f21c73b8c164b9579c6",
    "semg/female_1.mat": "d865552d4795381362d388ecc8c6816c96db3ab07a47c96ccf61b962247c0179",
    "semg/female_2.mat": "032a67db33a4b686cbd2cf90ef23b3c376599baef8911d1ae509e6df91ab3ff9",
    "semg/female_3.mat": "6763e77302473c887e5dffb08dd231070763a07944a15dd7ec673dd8ba4b496d",
    "semg/male_1.mat": "4637c7538292a331c30e06d58d8bafc6dfbab15ad1d4954250f19c05a52ae110",
    "semg/male_2.mat": "f038709bc1e5bbd427cd378492a6314275b788f5e6a37ed25f154e8ad4e59820",
    "plant_leaves/data_Sha_64.txt": "889a44fe1232650abd29328b79f29725cef6efa0258c11bf1faeba1d203f3feb",
    "plant_leaves/data_Mar_64.txt": "7579a980f20f9cb6cccbf4b670ca87da9f7059f1b4c361cbc5c4d3f214a012b3",
    "plant_leaves/data_Tex_64.txt": "ebfd038ea9332157856eb141ffcc1d171422a42a0115bccda180bf36e2b65c29",
    "gesture_phase/a1_raw.csv": "83012e2caf7d7d31733a3048e2051ea39f88793832d7c126a8e3b9565f4750e1",
    "gesture_phase/a2_raw.csv": "bfc8cf68484638088c34fdb6f902daefb3df8eab90a00754b19ad0f90ee61d3a",
    "gesture_phase/a3_raw.csv": "7aa269527b1e7a7262e9d8b0e8a8763ca20016792a24920ee10a5a02cde3a2b5",
    "gesture_phase/b1_raw.csv": "d57a2a3da1dfc00e0bcb0c6b5bc2b4746a0992e3a3dea0aec4bc370360d17a7a",
    "gesture_phase/b3_raw.csv": "9a437133ef5464526f42f5e505897518aa51781d165fe5291ee85389d87b32ff",
    "gesture_phase/c1_raw.csv": "ddf0cda9a0f721a1db55ece244f6ee82bfceb53b85dc613563a5fb921ad1bf2d",
    "gesture_phase/c3_raw.csv": "ac3eb37659fc91dbead9b11ed18ebb999be4d533ac46e94e39d7b01ace4a1602",
    "gesture_phase/a1_va3.csv": "df3fcdd481cf746e10e380c02f28d4554d7d67e53eda5bfd8b861dcb2037300c",
    "gesture_phase/a2_va3.csv": "3f921cab6fc8395b26ec772874583fe4eb211e15f856b6bfb45627cf4620fa48",
    "gesture_phase/a3_va3.csv": "0ef1ae696b179eccfdfc85cdaf6abcf83ff95209060e94185d0b9dfbbed765d3",
    "gesture_phase/b1_va3.csv": "fc530377ccf5da9fb8d82df04806d853afe988cc3dfead00608696a4a321875b",
    "gesture_phase/b3_va3.csv": "011a99aa42d984a9ad5f31e191fd6b9f6c4e72ae75c63e804c5e8905b896d115",
    "gesture_phase/c1_va3.csv": "4f4fe22b7839f696ee0fa8cd50aa6ae8082224db6ddb0767c5d405aa3d98ea42",
    "gesture_phase/c3_va3.csv": "032dd63b2a5ca1a0b21bfa3feae06cc09bb9f9cf2d4254c621f87cfff3186c42",
    "mammographic_mass/mammographic_masses.data": (
        "072051c896fb14f8f25c64eed30ba1333290af41e6c9ffad4e1ca573daa865a8"
    ),
    "mnist/train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "mnist/train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "mnist/t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "mnist/t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# The new addresses of the leaves and of the waves are inferred from the names of their pages.
_LEAVES = _uci("241/one+hundred+plant+species+leaves+data+set", "00241/100%20leaves%20plant%20species.zip")
_WAVES = (
    *_uci("108/waveform+database+generator+version+2", "waveform/waveform-+noise.data.Z"),
    # UCI's copy is compressed with LZW; this one, at a fixed commit, is the same file unpacked.
    "https://raw.githubusercontent.com/javierfernandobotia/AnalisisAvanzadoDatos/"
    "32f8fffb111d177fc3476e70752c1b89a7b69417/waveform-+noise.data",
)
_SEMG = _uci("313/semg+for+basic+hand+movements", "00313/sEMG_Basic_Hand_movements_upatras.zip")
_GESTURE = _uci("302/gesture+phase+segmentation", "00302/gesture_phase_dataset.zip")
_MASSES = _uci("161/mammographic+mass", "mammographic-masses/mammographic_masses.data")
DOWNLOADS = {
    "urban": (
        Download(
            _uci("295/urban+land+cover", "00295/Urban%20land%20cover.zip"), ("urban_land_cover/training.csv",)
        ),
    ),
    "waveform": (Download(_WAVES, ("waveform/waveform-+noise.data",)),),
    "semg": (Download(_SEMG, tuple(path for path in SHA256 if path.startswith("semg/"))),),
    "plant_shape": (Download(_LEAVES, ("plant_leaves/data_Sha_64.txt",)),),
    "plant_margin": (Download(_LEAVES, ("plant_leaves/data_Mar_64.txt",)),),
    "plant_texture": (Download(_LEAVES, ("plant_leaves/data_Tex_64.txt",)),),
    "gesture": (Download(_GESTURE, tuple(path for path in SHA256 if path.startswith("gesture_phase/"))),),
    "mammographic": (Download(_MASSES, ("mammographic_mass/mammographic_masses.data",)),),
    "mnist": (_mnist("train-images-idx3-ubyte.gz"), _mnist("train-labels-idx1-ubyte.gz")),
    "mnist_test": (_mnist("t10k-images-idx3-ubyte.gz"), _mnist("t10k-labels-idx1-ubyte.gz")),
}
