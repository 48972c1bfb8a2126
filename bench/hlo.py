"""What a compiled program moves, counted in its HLO: reads and writes of large arrays in main memory.

The compilers' own totals do not serve. A TPU's "bytes accessed" counts its on-chip memory too, and prefetches
twice; a GPU's is empty when no GPU is here. So each instruction of the scheduled program is looked at: its
operands are read, its results are written, and a fusion reads only the slices that it takes of an operand.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

FLOATS = {"f32": 4, "bf16": 2, "f16": 2, "f64": 8, "pred": 1, "s8": 1, "u8": 1, "s64": 8, "u64": 8}
HEADER = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
ASSIGNMENT = re.compile(r"^\s+(ROOT )?%?([\w.-]+) = ")
SHAPE = re.compile(r"\b(pred|token|opaque|[a-z]+\d+\w*)\[([\d,<=]*)\](\{[^{}]*\})?")
# They move nothing: names for what exists, and the ends of what began before.
WITHOUT_MOVE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier"}
WITHOUT_MOVE |= {"partition-id", "replica-id", "add-dependency", "domain", "async-update"}
UNMOVING_CALLS = ("AllocateBuffer", "AssumeGatherIndicesInBound", "Sharding")
ON_CHIP = re.compile(r"S\([1-9]\d*\)")


class Array(NamedTuple):
    """An array of a program."""

    dtype: str
    n_entries: int
    is_on_chip: bool  # in a TPU's own memory, not in main memory

    @property
    def n_bytes(self) -> int:
        """Bytes without a layout's padding."""
        return self.n_entries * FLOATS.get(self.dtype, 4)


class Instruction(NamedTuple):
    """A line of HLO."""

    name: str
    results: tuple[Array, ...]
    operation: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool

    def called(self, how: str = "calls") -> str:
        """Return the computation that it calls; empty if none."""
        found = re.search(rf"\b{how}=%?([\w.-]+)", self.attributes)
        return found.group(1) if found else ""


Computation = dict[str, Instruction]


class Move(NamedTuple):
    """An instruction that runs as a kernel or a copy: each array that it reads and writes, with the bytes."""

    instruction: Instruction
    reads: tuple[tuple[Array, int], ...]
    writes: tuple[tuple[Array, int], ...]
    is_in_loop: bool

    @property
    def cycles(self) -> int:
        """A TPU's own estimate; 0 elsewhere."""
        found = re.search(r'"estimated_cycles":"?(\d+)', self.instruction.attributes)
        return int(found.group(1)) if found else 0


class Total(NamedTuple):
    """What moves count together; ``passes`` are reads and writes of C-sized arrays in main memory."""

    passes: float
    kernels: int
    cycles: int
    copies: int  # of arrays of a block's size


def total(text: str, n_entries: int, block_entries: int, *, in_loop: bool) -> Total:
    """Return what a program counts inside its loops (one turn of each), or outside of them.

    Parameters
    ----------
    text
        Optimised HLO of a program with a single level of loops.
    n_entries
        Of C: a pass moves four bytes of each.
    block_entries
        Of a target block; arrays of less than half as many do not count.

    Examples
    --------
    >>> text = "ENTRY %main (a: f32[8,8]) -> f32[8,8] {\\n  %a = f32[8,8]{1,0} parameter(0)\\n"
    >>> total(text + "  ROOT %b = f32[8,8]{1,0} negate(%a)\\n}", 64, 64, in_loop=False)
    Total(passes=2.0, kernels=1, cycles=0, copies=0)
    """
    found = [move for move in moves(text) if move.is_in_loop == in_loop]
    moved = sum(
        n_bytes
        for move in found
        for array, n_bytes in (*move.reads, *move.writes)
        if _is_large(array, block_entries) and not array.is_on_chip
    )
    copies = [
        move
        for move in found
        if move.instruction.operation in ("copy", "copy-start")
        and all(_is_large(a, block_entries) and not a.is_on_chip for a, _ in (*move.reads, *move.writes))
    ]
    return Total(moved / (4 * n_entries), len(found), sum(move.cycles for move in found), len(copies))


def _is_large(array: Array, block_entries: int) -> bool:
    return 2 * array.n_entries >= block_entries


def parse(text: str) -> tuple[dict[str, Computation], str]:
    """Return the computations of a program, and the name of the one where it starts."""
    computations: dict[str, Computation] = {}
    entry, current = "", None
    for line in text.splitlines():
        header = HEADER.match(line)
        if header and not line.startswith(" "):
            current = computations.setdefault(header.group(2), {})
            entry = header.group(2) if header.group(1) else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (start := ASSIGNMENT.match(line)):
            current[start.group(2)] = _instruction(line[start.end() :], start)
    return computations, entry


def _instruction(body: str, start: re.Match[str]) -> Instruction:
    cut = _closing(body, 0) + 1 if body.startswith("(") else body.index(" ")
    shape, rest = body[:cut], body[cut:].lstrip()
    opening = rest.index("(")
    closing = _closing(rest, opening)
    operation, inner = rest[:opening], rest[opening + 1 : closing]
    is_named = operation not in ("parameter", "constant")
    operands = tuple(re.findall(r"%([\w.-]+)", inner)) if is_named else (inner,)
    return Instruction(
        start.group(2), _arrays(shape), operation, operands, rest[closing + 1 :], bool(start.group(1))
    )


def _closing(text: str, opening: int) -> int:
    """Return where the bracket that opens at a place is closed."""
    depth = 0
    for place in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return len(text) - 1


def _arrays(shape: str) -> tuple[Array, ...]:
    return tuple(
        Array(
            dtype,
            math.prod(int(size.lstrip("<=")) for size in sizes.split(",") if size),
            bool(ON_CHIP.search(layout)),
        )
        for dtype, sizes, layout in SHAPE.findall(shape)
    )


def moves(text: str) -> Iterator[Move]:
    """Give every instruction of a program that moves arrays, those of a loop's body once."""
    computations, entry = parse(text)

    def walk(name: str, is_in_loop: bool) -> Iterator[Move]:
        for own in computations[name].values():
            if own.operation == "while":
                yield from walk(own.called("body"), True)
            elif own.operation in ("call", "conditional"):
                inner = [
                    own.called("to_apply"),
                    own.called("true_computation"),
                    own.called("false_computation"),
                ]
                listed = re.search(r"branch_computations=\{([^}]*)\}", own.attributes)
                inner += re.findall(r"[\w.-]+", listed.group(1)) if listed else []
                for name_inner in filter(None, inner):
                    yield from walk(name_inner, is_in_loop)
            elif _moves_something(own):
                yield _move(computations, computations[name], own, is_in_loop)

    yield from walk(entry, False)


def _moves_something(own: Instruction) -> bool:
    is_still = own.operation in WITHOUT_MOVE or own.operation.endswith("-done")
    target = re.search(r'custom_call_target="([^"]*)"', own.attributes)
    return not is_still and not (target and target.group(1) in UNMOVING_CALLS)


def _move(
    computations: dict[str, Computation], body: Computation, own: Instruction, is_in_loop: bool
) -> Move:
    operands = [body[name].results[0] for name in own.operands if name in body and body[name].results]
    if own.operation.endswith("-start") and operands:
        # Results are (destination, source, ...) of a copy, (source, destination, ...) of a slice.
        later = own.results[-2] if len(own.results) > 2 else own.results[-1]
        written = own.results[0] if own.operation == "copy-start" else later
        return Move(own, ((operands[0], written.n_bytes),), ((written, written.n_bytes),), is_in_loop)
    if own.operation == "fusion":
        inner = computations[own.called()]
        reads = tuple(
            (body[name].results[0], _read_of_parameter(computations, inner, i, body[name].results[0].n_bytes))
            for i, name in enumerate(own.operands)
            if name in body and body[name].results
        )
        written_bytes = _written(computations, inner)
        if len(written_bytes) != len(own.results):
            written_bytes = [None] * len(own.results)
        pairs = zip(own.results, written_bytes, strict=True)
        writes = tuple((array, array.n_bytes if n is None else n) for array, n in pairs)
        return Move(own, reads, writes, is_in_loop)
    reads = tuple((array, array.n_bytes) for array in operands)
    writes = tuple((array, array.n_bytes) for array in own.results)
    if own.operation in ("slice", "dynamic-slice", "gather"):
        reads = ((operands[0], min(operands[0].n_bytes, own.results[0].n_bytes)), *reads[1:])
    if own.operation == "dynamic-update-slice":  # in place
        reads, writes = reads[1:], ((own.results[0], operands[1].n_bytes),)
    return Move(own, reads, writes, is_in_loop)


def _read_of_parameter(
    computations: dict[str, Computation], inner: Computation, index: int, n_bytes: int
) -> int:
    """Return the bytes that a fusion reads of its operand: less than all where it only takes slices."""
    own = next(
        (i for i in inner.values() if i.operation == "parameter" and i.operands[0] == str(index)), None
    )
    return n_bytes if own is None else _read(computations, inner, own, n_bytes)


def _read(computations: dict[str, Computation], inner: Computation, own: Instruction, n_bytes: int) -> int:
    users = [user for user in inner.values() if own.name in user.operands]
    read = n_bytes if own.is_root else 0
    for user in users:
        if user.operation in ("slice", "dynamic-slice"):
            read += sum(array.n_bytes for array in user.results)
        elif user.operation in ("bitcast", "reshape"):
            read += _read(computations, inner, user, n_bytes)
        elif user.operation == "fusion":
            of_user = computations[user.called()]
            places = [i for i, name in enumerate(user.operands) if name == own.name]
            read += sum(_read_of_parameter(computations, of_user, place, n_bytes) for place in places)
        elif user.operation != "dynamic-update-slice" or user.operands[0] != own.name:
            return n_bytes
    return min(read, n_bytes)


def _written(computations: dict[str, Computation], inner: Computation) -> list[int | None]:
    """Return the bytes that a fusion writes of each result; None for all of it."""
    root = next(own for own in inner.values() if own.is_root)

    def one(own: Instruction) -> int | None:
        if own.operation in ("bitcast", "reshape"):
            return one(inner[own.operands[0]])
        if own.operation == "dynamic-update-slice":
            return sum(array.n_bytes for array in inner[own.operands[1]].results)
        if own.operation == "fusion":
            within = _written(computations, computations[own.called()])
            return within[0] if len(within) == 1 else None
        return None

    return [one(inner[name]) for name in root.operands] if root.operation == "tuple" else [one(root)]
