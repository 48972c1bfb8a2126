"""All settings of DUAL, and the two configurations: ours and the paper's."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import numpy as np
import optax

from dual_jax.data.errors import InputError
from dual_jax.dual.network import Autoencoder, Module, dense
from dual_jax.dual.objectives import OBJECTIVES
from dual_jax.dual.objectives.notation import Weights
from dual_jax.dual.sizes import (
    BLOCKS,
    KERNEL_FROM,
    LARGEST,
    MAX_CODES,
    PLAIN,
    Sizes,
    round_up,
    targets_on_chip,
)
from dual_jax.numerics.statistics import MAX_INPUTS

MAX_COEFFICIENTS = 1 << 25
MIN_DICTIONARY = 1024
MAX_TARGETS = 1 << 15


Readout = Literal["greedy", "chain", "refine", "norms"]


@dataclasses.dataclass(frozen=True)
class DualConfig:
    """Settings of DUAL. Weights, rates and the power are pytree leaves: a new value does not compile again.

    The defaults are the recommended configuration: ours, one setting for all data. `DualConfig.paper` is the
    released one. A grid of weights is one ``jax.vmap`` over a config whose leaves
    have a leading axis.

    Parameters
    ----------
    alpha, beta
        Weights of the self-expression of samples and of cluster centroids, >= 0, Eq. (10).
    gamma, eta
        Weights of the row norms of C and P inside their branches, >= 0, Eqs. (5) and (7).
    temperature
        Of the simplex, > 0, in units of the mean squared distance to the 10 nearest rows.
    learning_rate, pretrain_learning_rate
        Step sizes of the joint stage and of pre-training, > 0.
    objective
        ``"simplex"`` (ours) or ``"free"`` (the paper's).
    readout
        ``"greedy"``: Eq. (4) solved greedily in the learnt space, nested. ``"refine"``: swaps on top, for one
        budget. ``"chain"``: swaps for a budget, for half of it, and so on, in one order. ``"norms"``: the
        paper's min-max sum of the row norms of C and P.
    power
        Of the distance in the greedy read-out, in (0, 2]; Eq. (4)'s l2-norm is 1, ours 1/2.
    latent_dim, hidden
        Width p of the latent layer; widths of the encoder's hidden layers, mirrored in the decoder.
    n_clusters
        K, the number of centroids; None for ``min(2 sqrt(n), n / 3)``.
    pretrain_steps, steps
        Full-batch steps of stage 1 and stage 3; an upper limit where ``tolerance`` is positive. By
        bench/README.md, "What the default costs and brings", more joint steps than 50 bring nothing.
    tolerance
        A stage stops when the mean loss of a chunk of steps has improved by less than this share of the
        chunk before; 0 runs all steps.
    n_exact
        Picks that the read-out orders exactly in a full ranking; the others follow by their remaining gain.
        The largest set of a chain, which the greedy continues.
    optimizer, coefficient_optimizer
        Optax factories ``learning_rate -> GradientTransformation``; the second, for C and P, must work entry
        by entry because it is applied block by block.
    moments_dtype
        Storage dtype of that optimiser's arrays for C and P; steps compute in float32. ``"bfloat16"`` halves
        their memory, which with Adam leaves two thirds of the whole, and uses stochastic rounding so that
        averages stay unbiased.
    encoder, decoder
        Any pure ``Module(init, apply)`` pairs instead of the dense layers.
    dictionary_size
        Rows that may rebuild others, drawn evenly from the labelled rows and candidates; None for all of
        them as long as C has at most 2^25 entries (0.4 GB with Adam's moments), or 1,024 rows of a larger
        pool if that is more.
    n_targets
        Rows that C rebuilds. From a larger pool this number is drawn, at least half of it from the rows that
        may be picked; all rows are still ranked. None for 2^15, or the dictionary size if that is more. With
        the read-out ``"norms"`` C rebuilds all rows.
    batch_rows
        Rows in a step of stage 1. From a larger pool a step takes every k-th row, and the next step starts
        one row later. None for all rows. At 1,024 the picks are as good as with all rows of 2,500 and 4,936
        (bench/README.md).
    block_rows
        Targets in a block of C at most; None for blocks that suit the device. On a CPU they fit the
        processor's cache: the temporaries of a step are then below a tenth of a full C from 20,000 rows on;
        with the simplex below a sixth. There they are of equal length, a power of two of them, and devices
        share whole ones: 1, 2, 4, ... devices of a process give the same bits. On a TPU and a GPU there are
        few blocks, which compile quickly.
    kernel
        ``"auto"``: on a TPU our own kernels update C where they move it less often than its compiler does,
        if Adam is the optimiser of C and its moments are float32. No TPU has run them yet. So before the
        first fit of a process they are tried on the device: unless a small pool gets the same numbers as from
        the plain step, a warning tells why, and the step is plain. ``"plain"``: as the compiler does it.
    coefficient_seeds
        Seeds of the random start of C and P of the free objective; None draws them from the key.
    """

    alpha: float | jax.Array = 1.0
    beta: float | jax.Array = 1.0
    gamma: float | jax.Array = 0.1
    eta: float | jax.Array = 0.1
    temperature: float | jax.Array = 0.5
    learning_rate: float | jax.Array = 1e-3
    pretrain_learning_rate: float | jax.Array = 1e-3
    objective: Literal["simplex", "free"] = "simplex"
    readout: Readout = "greedy"
    power: float | jax.Array = 0.5
    latent_dim: int = 32
    hidden: tuple[int, ...] = (128, 64)
    n_clusters: int | None = None
    pretrain_steps: int = 1000
    steps: int = 50
    tolerance: float = 1e-4
    n_exact: int = 1000
    optimizer: Callable[..., optax.GradientTransformation] = optax.adam
    coefficient_optimizer: Callable[..., optax.GradientTransformation] = optax.adam
    moments_dtype: Literal["float32", "bfloat16"] = "float32"
    encoder: Module | None = None
    decoder: Module | None = None
    dictionary_size: int | None = None
    n_targets: int | None = None
    batch_rows: int | None = 1 << 10
    block_rows: int | None = None
    kernel: Literal["auto", "plain"] = "auto"
    coefficient_seeds: tuple[int, int] | None = None

    @classmethod
    def paper(cls, **changes: Any) -> "DualConfig":
        """Return the configuration of the released code, on Urban's widths, with ``changes`` applied.

        Sums of squares, C and P from xavier normal with fixed seeds, 5,000 and 2,500 full-batch steps of
        Adam at 1e-3, K = 5, ranking by row norms. The released flat weights are ``alpha = beta = p_Rq`` and
        ``gamma = eta = p_q / p_Rq``; here the cell (0.1, 0.1). Two things of the released code are not
        built: its soft penalty on the diagonal of C (measured inactive; here the diagonal is exactly 0, as
        in the paper) and its ranking by squared norms (here l2 norms, as in the paper). Widths for other
        data sets, the grids and the tie of the weights in print are unknown. Seeds are JAX's, so the draws
        are not PyTorch's.
        """
        paper = cls(
            alpha=0.1,
            beta=0.1,
            gamma=1.0,
            eta=1.0,
            objective="free",
            readout="norms",
            n_clusters=5,
            pretrain_steps=5000,
            steps=2500,
            tolerance=0.0,
            batch_rows=None,
            coefficient_seeds=(123, 351),
        )
        return dataclasses.replace(paper, **changes)

    @property
    def weights(self) -> Weights:
        """The trade-off weights of Eq. (10)."""
        return Weights(self.alpha, self.beta, self.gamma, self.eta, self.temperature)

    def modules(self, x: jax.Array) -> Autoencoder:
        """Return the encoder and decoder modules for rows shaped like those of ``x``."""
        encoder = self.encoder or dense((*self.hidden, self.latent_dim))
        decoder = self.decoder or dense((*reversed(self.hidden), math.prod(x.shape[1:])))
        return Autoencoder(encoder, decoder)

    def of_programs(self) -> "DualConfig":
        """Return these settings with those that no compiled program depends on at their defaults.

        Sizes and numbers of steps are arguments of the programs, so other numbers of steps compile nothing.
        """
        default = DualConfig()
        return dataclasses.replace(self, **{name: getattr(default, name) for name in _ARGUMENTS})

    def clusters(self, n: int) -> int:
        """Return K for n targets."""
        return self.n_clusters or max(1, min(int(2 * math.sqrt(n)), n // 3))

    def blocks_on_cpu(self, n_targets: int, m: int) -> int:
        """Return into how many blocks C is cut, of ``n_targets`` with m coefficients each: a power of two."""
        most = self.block_rows or max(BLOCKS["cpu", self.objective].n_bytes // (4 * m), 1)
        n_blocks = 1 << (-(-n_targets // most) - 1).bit_length()
        return n_blocks if self.block_rows else min(n_blocks, BLOCKS["cpu", self.objective].most)

    def rows_in_block(self, n_targets: int, m: int, platform: str, kernel: str = PLAIN) -> int:
        """Return how many targets a block holds on an accelerator that has ``n_targets``.

        A kernel of our own holds no array of a block's size, and is compiled for each block again.
        """
        if self.block_rows:
            return self.block_rows
        rule = BLOCKS[platform, self.objective]
        if kernel != PLAIN:
            rule = rule._replace(n_bytes=LARGEST)
        small, large = (max(n_bytes // (4 * m), 1) for n_bytes in (rule.n_bytes, rule.large))
        n_blocks = -(-n_targets // small)
        if n_blocks > rule.most:
            n_blocks = -(-n_targets // large) if rule.large else rule.most
        rows = -(-n_targets // n_blocks)  # of equal size, because the largest decides the memory
        return min(round_up(rows, rule.multiple), n_targets)

    def sizes(self, n: int, n_usable: int | None = None, n_devices: int = 1, platform: str = "cpu") -> Sizes:
        """Return the sizes of a fit to a pool of n rows: what was asked, or what a rule decides.

        Parameters
        ----------
        n
            Rows of the pool.
        n_usable
            Rows among the targets that may rebuild others, labelled rows and candidates; all by default. The
            dictionary has the next power of two as places, so that a few rows more or less compile nothing.
        n_devices
            Devices that share the targets. On a CPU more than there are blocks get a block each.
        platform
            Of the devices, "cpu", "gpu" or "tpu": it decides blocks and unused places, not which rows count.

        Examples
        --------
        >>> DualConfig().sizes(178)[:5]
        (178, 178, 26, 178, 1)
        >>> DualConfig().sizes(178, platform="tpu").n_columns
        256
        """
        n_targets = n
        if self.readout != "norms":
            n_targets = min(n, self.n_targets or max(MAX_TARGETS, self.dictionary_size or 0))
        limit = self.dictionary_size or max(MIN_DICTIONARY, MAX_COEFFICIENTS // n_targets)
        n_usable = n_targets if n_usable is None else n_usable
        n_places = max(1, min(1 << max(n_usable - 1, 0).bit_length(), n_targets, limit))
        n_batches = 1 if self.batch_rows is None else -(-n // self.batch_rows)
        multiple, local = BLOCKS[platform, self.objective].multiple, -(-n_targets // n_devices)
        n_columns = round_up(n_places, multiple)
        if platform == "cpu":
            n_tiles = round_up(self.blocks_on_cpu(n_targets, n_columns), n_devices)
            block_rows = -(-n_targets // n_tiles)
        else:
            n_tiles, block_rows = n_devices, self.rows_in_block(local, n_columns, platform)
        kernel = self.kernel_on(platform, block_rows, n_columns)
        if kernel != PLAIN:
            block_rows = self.rows_in_block(local, n_columns, platform, kernel)
        return Sizes(
            n_targets,
            n_places,
            self.clusters(n_targets),
            block_rows,
            n_batches,
            multiple,
            platform == "tpu" and self.objective == "free",  # a TPU sums what it writes in the same kernel
            n_tiles,
            kernel,
        )

    def kernel_on(self, platform: str, block_rows: int, m: int) -> str:
        """Return what updates C on a kind of device, see `Sizes.kernel`; the device is not asked."""
        is_adam = self.coefficient_optimizer is optax.adam and self.moments_dtype == "float32"
        is_large = 4 * block_rows * m > KERNEL_FROM[self.objective]
        is_narrow = self.latent_dim <= MAX_CODES
        is_fitting = self.objective == "free" or targets_on_chip(m, self.latent_dim, MAX_INPUTS) > 0
        is_wanted = self.kernel == "auto" and platform == "tpu"
        return "tpu" if is_wanted and is_adam and is_large and is_narrow and is_fitting else PLAIN

    def as_json(self) -> dict[str, Any]:
        """Return the settings for JSON: optax factories by name, without other functions."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: _plain(value) for name, value in fields.items() if not _is_own(value)}

    @classmethod
    def from_json(cls, settings: dict[str, Any], like: "DualConfig | None" = None) -> "DualConfig":
        """Return the configuration that `as_json` wrote, with the functions that it left out from ``like``.

        Raises
        ------
        ValueError
            When functions were left out and ``like`` is None, or a setting is not known here.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := settings.keys() - known:
            raise InputError(f"the setting {min(unknown)!r} is not known to this version: upgrade dual-jax")
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items()}
        for name in ("optimizer", "coefficient_optimizer"):
            if name in values:
                values[name] = getattr(optax, values[name])
        if missing := _FUNCTIONS - values.keys():
            if like is None:
                raise InputError(
                    f"it was made with its own {' and '.join(sorted(missing))}, which no file can hold: give "
                    "config= with the same"
                )
            values |= {name: getattr(like, name) for name in missing}
        return cls(**values)

    def check(self) -> None:
        """Raise ValueError that names the first setting out of range; traced values are not checked."""
        for name in ("alpha", "beta", "gamma", "eta"):
            _check_range(name, getattr(self, name), 0.0, inclusive=True)
        for name in ("temperature", "learning_rate", "pretrain_learning_rate"):
            _check_range(name, getattr(self, name), 0.0, inclusive=False)
        _check_range("power", self.power, 0.0, 2.0, inclusive=False)
        for name, choices in (
            ("objective", tuple(OBJECTIVES)),
            ("readout", get_args(Readout)),
            ("moments_dtype", ("float32", "bfloat16")),
            ("kernel", ("auto", PLAIN)),
        ):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{name}={getattr(self, name)!r} is unknown: choose one of {', '.join(choices)}."
                )
        _check_range("tolerance", self.tolerance, 0.0, inclusive=True)
        for name, low in (("latent_dim", 1), ("pretrain_steps", 0), ("steps", 0), ("n_exact", 1)):
            if not _is_count(found := getattr(self, name), low):
                raise InputError(f"{name}={found!r} is out of range: it must be an integer, at least {low}.")
        for name in ("n_clusters", "dictionary_size", "n_targets", "batch_rows", "block_rows"):
            value = getattr(self, name)
            if value is not None and not _is_count(value, 1):
                raise InputError(
                    f"{name}={value!r} is out of range: it must be an integer, at least 1, or None."
                )
        if not isinstance(self.hidden, tuple) or not all(_is_count(width, 1) for width in self.hidden):
            raise InputError(f"hidden={self.hidden!r} must be a tuple of widths, such as (128, 64).")


def _is_count(value: Any, low: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= low


def _is_own(value: Any) -> bool:
    """Return whether a setting is a function, or a pair of functions, that cannot be found by name."""
    name = getattr(value, "__name__", "")
    return isinstance(value, Module) or (callable(value) and getattr(optax, name, None) is not value)


def _plain(value: Any) -> Any:
    if callable(value):
        return value.__name__
    if isinstance(value, np.generic):
        return value.item()
    return float(value) if isinstance(value, jax.Array | np.ndarray) else value


def _check_range(name: str, value: Any, low: float, high: float = math.inf, *, inclusive: bool) -> None:
    if isinstance(value, jax.core.Tracer):
        return
    values = np.asarray(value)
    is_above = (values >= low) if inclusive else (values > low)
    if not np.all(np.isfinite(values) & is_above & (values <= high)):
        wanted = f"{'at least' if inclusive else 'above'} {low:g}"
        wanted += f" and at most {high:g}" if high < math.inf else ""
        raise InputError(f"{name}={value!r} is out of range: it must be finite and {wanted}.")


_ARGUMENTS = (  # what they decide is given to the compiled programs, as `Sizes` or as a number of steps
    *("n_clusters", "dictionary_size", "n_targets", "batch_rows", "block_rows"),
    *("pretrain_steps", "steps", "n_exact", "kernel"),
)
_FUNCTIONS = {"optimizer", "coefficient_optimizer", "encoder", "decoder"}
_LEAVES = (
    *("alpha", "beta", "gamma", "eta", "temperature", "power"),
    *("learning_rate", "pretrain_learning_rate"),
)
jax.tree_util.register_dataclass(
    DualConfig,
    data_fields=_LEAVES,
    meta_fields=[f.name for f in dataclasses.fields(DualConfig) if f.name not in _LEAVES],
)
