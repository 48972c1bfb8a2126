"""What is decided for one pool on one kind of device: numbers of rows, places, clusters, blocks and tiles.

`dual_jax.dual.config` holds what was asked for.
"""

from typing import NamedTuple


class Blocks(NamedTuple):
    """How C is cut into target blocks on a kind of device, for one objective; blocks are unrolled."""

    n_bytes: int  # of a block
    most: int  # blocks: more compile longer
    multiple: int = 1  # of columns, and of rows where there are several blocks
    large: int = 0  # bytes of a block where those of ``n_bytes`` are too many; 0: as small as ``most`` allows


LARGEST = 4 << 30  # bytes of an array
# CPU: a block shares a processor's last cache with its gradient and moments. The temporaries of the simplex
# exceed the cache in any case, and its blocks compile slowly: 5 s for 4, 12 s for 8.
# TPU: blocks of up to some 50 MB stay on the chip from one use to the next; larger ones gain nothing from
# more blocks. Each takes some 5 s of a processor to compile: eight take less than a minute. The simplex gains
# nothing but memory, of which it takes that of five blocks, and a block takes 12 s or more to compile. An
# array of 500 x 4,000 would be stored by columns, which pads less, and copied to rows; 4,096 columns are not.
# GPU: no cache to fit; matrix products pad columns to 32. No array may have 2^31 entries.
BLOCKS = {
    ("cpu", "free"): Blocks(8 << 20, 64),
    ("cpu", "simplex"): Blocks(16 << 20, 64),
    ("tpu", "free"): Blocks(52 << 20, 8, 128, LARGEST),
    ("tpu", "simplex"): Blocks(768 << 20, 8, 128),
    ("gpu", "free"): Blocks(LARGEST, 64, 128),
    ("gpu", "simplex"): Blocks(160 << 20, 32, 128),
}


# The kernels of a TPU (`dual_jax.dual.kernels`) are used from some size on. Smaller blocks of the free
# objective stay on the chip from one use to the next, where XLA moves less than a kernel would.
KERNEL_FROM = {"free": 52 << 20, "simplex": 16 << 20}  # bytes of a block
CHIP_MEMORY = 100 << 20  # of the 128 MiB of a v5e and a v6e, what the arrays of a kernel may take
ON_CHIP = (128, 64, 32, 16, 8)  # targets of a kernel of the simplex at once: the first number that fits
MAX_CODES = 128  # numbers of a code: wider ones are not tried
PLAIN = "plain"  # no kernel of our own: C is updated as its compiler does it


class Sizes(NamedTuple):
    """What `DualConfig.sizes` decides for one pool; the settings themselves say what was asked.

    Attributes
    ----------
    n_targets
        Rows that C rebuilds.
    n_places
        m, the rows of the dictionary.
    n_clusters
        K.
    block_rows
        Targets in a block of C.
    n_batches
        Steps of stage 1 that use each row of the pool once.
    multiple
        The columns of C are padded by unused places to a multiple of this.
    carries_sums
        Whether a step of the free objective sums the squares of C as it writes it, for the next step.
    n_tiles
        Tiles of rows on all devices together: on a CPU one for each block of C, else one for each device. See
        `dual_jax.numerics.tiles`.
    kernel
        What updates C: "plain", or "tpu" for the kernels of `dual_jax.dual.kernels`.
    """

    n_targets: int
    n_places: int
    n_clusters: int
    block_rows: int
    n_batches: int
    multiple: int = 1
    carries_sums: bool = False
    n_tiles: int = 1
    kernel: str = PLAIN

    @property
    def n_columns(self) -> int:
        """Columns of C, with unused places."""
        return round_up(self.n_places, self.multiple)

    def shared(self, n_devices: int) -> "Sizes":
        """Return the sizes for devices with as many tiles each; of more devices than tiles each has one."""
        n_tiles = round_up(self.n_tiles, n_devices)
        if n_tiles == self.n_tiles:
            return self
        return self._replace(n_tiles=n_tiles, block_rows=min(self.block_rows, -(-self.n_targets // n_tiles)))


def round_up(n: int, multiple: int) -> int:
    """Return the least multiple that is not below n.

    Examples
    --------
    >>> round_up(4000, 128)
    4096
    """
    return -(-n // multiple) * multiple


def targets_on_chip(m: int, p: int, d: int) -> int:
    """Return how many targets the simplex' kernels of a TPU hold at once; 0 where not even the least fit.

    Parameters
    ----------
    m, p, d
        Columns of C, and widths of the codes and of the inputs in u.

    Examples
    --------
    >>> targets_on_chip(4096, 32, 64), targets_on_chip(36_608, 32, 64), targets_on_chip(1 << 18, 32, 64)
    (128, 16, 0)
    """
    return next((n for n in ON_CHIP if kernel_memory(n, m, p, d) <= CHIP_MEMORY), 0)


def kernel_memory(n_rows: int, m: int, p: int, d: int) -> int:
    """Return the bytes of such a kernel's arrays: those of all places, and 15 rows of C for each target.

    Two rows for each array that is read or written while others are computed, and three in between.
    """
    return 4 * m * (8 * round_up(p, 8) + d + 48 + 15 * n_rows)
