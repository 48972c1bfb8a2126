"""What the commands share: options, checks of outputs, and the cache of compiled programs."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dual_jax.data.errors import InputError

if TYPE_CHECKING:
    from dual_jax.evaluation.paper.jobs import Job

NO_CACHE = "DUAL_JAX_NO_COMPILE_CACHE"
OWN = "loaded"  # the folder of programs that are found without being traced, in that of JAX
AUTO, COUNTS = "auto", "counts"
SCALINGS = (AUTO, COUNTS, "standard", "global", "l2", "none")
SCALE = (
    f"of the inputs; {COUNTS}: tf-idf and latent semantic analysis; {AUTO}, the default: {COUNTS} where all "
    "columns clearly are counts of words or the like, otherwise standard"
)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="files of built-in sets")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")


def seed_number(text: str) -> int:
    """Return a seed; argparse turns the error into its own."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no integer from 0 to 2^32 - 1")
    return int(text)


def check_writable(path: Path) -> None:
    """Raise ValueError when no file of that name can be written, before any work is done for it."""
    target = path.resolve()
    if target.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {target.parent} does not exist; create it first")
    if not os.access(target.parent, os.W_OK | os.X_OK) or (
        target.exists() and not os.access(target, os.W_OK)
    ):
        raise InputError(f"cannot write {path}: permission denied; choose another folder or name")


def listed(option: str, text: str, known: Sequence[str]) -> list[str]:
    """Return the names in a list with commas; ValueError for one that is not known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        seen = unknown[0] if unknown else text
        raise InputError(f"{option} {seen!r} is not known here: choose from {', '.join(known)}")
    return names


def check_folder(out: Path, option: str = "--out") -> None:
    """Raise ValueError when results cannot be written to a folder of that name."""
    target = out.resolve()
    if target.exists() and not target.is_dir():
        raise InputError(f"{option} {out} is a file: give a folder")
    if not target.exists() and not target.parent.is_dir():
        raise InputError(f"{option} {out}: the folder {target.parent} does not exist; create it first")
    if not os.access(target if target.exists() else target.parent, os.W_OK | os.X_OK):
        raise InputError(f"{option} {out}: permission denied; choose another folder")


def check_results(out: Path, patterns: Sequence[str]) -> None:
    """Refuse a folder of results that cannot be written, or whose files are not of an earlier run.

    Parameters
    ----------
    out : path
        The folder; records of earlier runs are in its ``records/``.
    patterns : sequence of str
        Names of the files that will be written, perhaps with ``*``.
    """
    from dual_jax.evaluation.records import read_folder

    check_folder(out)
    found = sorted(path.name for pattern in patterns for path in out.glob(pattern))
    if found and not read_folder(out / "records"):
        raise InputError(
            f"--out {out} holds {found[0]} and no records of an earlier run, so it would be replaced: "
            "give another folder"
        )


def do_jobs(work: Sequence["Job"]) -> None:
    """Do the pieces one after another, and say after each what is left by the pace so far."""
    from dual_jax.devices.machine import forget_programs_if_many
    from dual_jax.estimators.progress import span

    start, done, total = time.perf_counter(), 0.0, sum(job.seconds for job in work)
    for number, job in enumerate(work, 1):
        began = time.perf_counter()
        n_records = len(job.run())
        now, done = time.perf_counter(), done + job.seconds
        left = (total - done) * ((now - start) / done if done > 0 else 1.0)
        took = f"{n_records} records in {span(now - began)}"
        print(f"[{number}/{len(work)}] {job.data}: {job.title}: {took}; about {span(left)} left", flush=True)
        forget_programs_if_many()


def keep_compiled_programs() -> None:
    """Keep compiled programs in the user's cache folder, unless the user has chosen one for JAX or none fits.

    Those of a fit are in a folder of our own there, where they are found without being traced.
    Whoever can write there can run code as the user, so a folder that others can write to is not used.
    """
    import jax

    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dual_jax" / "xla"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / OWN).mkdir(mode=0o700, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return
    about = folder.stat()
    is_own = not hasattr(os, "getuid") or (about.st_uid == os.getuid() and not about.st_mode & 0o022)
    if is_own and os.access(folder, os.W_OK):
        from dual_jax.numerics import programs

        programs.keep_in(folder / OWN)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
