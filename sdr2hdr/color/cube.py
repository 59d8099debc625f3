"""Colour tables in Adobe's and Resolve's text form, ``.cube``: read, written and applied.

Sources: Adobe, *Cube LUT Specification 1.0* (2013); Blackmagic Design, *DaVinci Resolve*, developer documentation, "LUT" (the
input ranges, and tables for video range); tetrahedral interpolation after Sakamoto and Itooka (US patent 4275413, expired), with
the choice of tetrahedra that FFmpeg's ``lut3d`` filter takes, too. Red changes fastest.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Triple = tuple[float, float, float]

LARGEST = {"LUT_1D_SIZE": 65536, "LUT_3D_SIZE": 65}
"""Entries along an edge that are accepted; the specification's own limits are 65536 and 256."""

_COMMENT = 200  # characters of a comment or title that are kept
_MOST = 1e6  # of a number's size; codes are from 0 to 1
_NARROWEST = 1e-3  # domain; a narrower one is a mistake
_BLACK, _SPAN = (
    64 / 1023,
    876 / 1023,
)  # of video range, in full range of 10 bits (BT.2100-2 table 9)


@dataclass(frozen=True)
class Cube:
    """A table from R'G'B' codes to R'G'B' codes.

    ``table`` is float32, ``N,3`` of one dimension (each channel alone) or ``S,S,S,3`` of three (indexed blue, green, red).
    ``low`` and ``high`` are the input codes of its first and last entry, for red, green and blue.
    """

    table: Tensor
    title: str = ""
    low: Triple = (0.0, 0.0, 0.0)
    high: Triple = (1.0, 1.0, 1.0)
    comments: tuple[str, ...] = field(default=(), compare=False)

    @property
    def size(self) -> int:
        """Entries along an edge."""
        return self.table.shape[0]

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes ``...,3,H,W`` through the table, float32; codes outside of its domain take its border's value."""
        low, high = (
            codes.new_tensor(x, dtype=torch.float32)[:, None, None] for x in (self.low, self.high)
        )
        at = ((codes.float() - low) / (high - low)).clamp(0.0, 1.0) * (self.size - 1)
        return (
            _lines(self.table.to(codes.device), at)
            if self.table.ndim == 2
            else tetrahedral(self.table.to(codes.device), at)
        )


def _lines(table: Tensor, at: Tensor) -> Tensor:
    """Each channel of ``...,3,H,W`` (in entries) by its own column of ``N,3``, linearly."""
    below = at.floor().clamp_max(table.shape[0] - 2).long()
    share = at - below
    out = [
        torch.lerp(column[i], column[i + 1], s)
        for column, i, s in zip(table.unbind(-1), below.unbind(-3), share.unbind(-3), strict=True)
    ]
    return torch.stack(out, dim=-3)


def tetrahedral(table: Tensor, at: Tensor) -> Tensor:
    """Values ``...,3,H,W`` of a table ``S,S,S,3`` (blue, green, red) at ``...,3,H,W``, in entries 0..S-1 of R, G and B.

    The cell's cube is split into six tetrahedra along its grey diagonal, so that greys are interpolated between greys.
    """
    size = table.shape[0]
    flat = table.reshape(-1, 3)
    below = at.floor().clamp_max(size - 2)
    share = at - below
    r, g, b = below.long().unbind(-3)
    corner = (b * size + g) * size + r
    steps = at.new_tensor(
        [1, size, size * size], dtype=torch.long
    )  # strides of R, G and B in the flat table
    order = share.movedim(-3, -1).argsort(dim=-1, descending=True, stable=True)
    sorted_share = share.movedim(-3, -1).gather(-1, order)
    value = flat[corner]
    out = value
    for k in range(3):
        corner = corner + steps[order[..., k]]
        following = flat[corner]
        out = out + sorted_share[..., k, None] * (following - value)
        value = following
    return out.movedim(-1, -3)


def parse_cube(text: str) -> Cube:
    """The table in a ``.cube`` file's text. Raises ValueError with the cause, as a phrase for a sentence."""
    head = _Head()
    values: list[float] = []
    for number, raw in enumerate(re.split("\r\n|\r|\n", text), 1):
        line = raw.strip()
        if not line:
            continue
        word = line.split(maxsplit=1)[0]
        if line[0] == "#" or (line[0].isalpha() and word.lower() not in ("nan", "inf", "infinity")):
            head.read(line, number)
            continue
        if not head.kind:
            raise ValueError(f"line {number} is a value before the table's size is known")
        values += _numbers(line, 3, number)
        if len(values) > 3 * head.entries:
            raise ValueError(
                f"it holds more values than its size of {head.size} allows (line {number})"
            )
    if not head.kind:
        raise ValueError("it names neither LUT_1D_SIZE nor LUT_3D_SIZE")
    if len(values) < 3 * head.entries:
        raise ValueError(f"it ends after {len(values) // 3} of {head.entries} entries")
    if any(b - a < _NARROWEST for a, b in zip(head.low, head.high, strict=True)):
        raise ValueError(f"its domain from {head.low} to {head.high} is empty")
    shape = (head.size,) if head.kind == "LUT_1D_SIZE" else (head.size,) * 3
    table = torch.tensor(values).view(*shape, 3)
    low, high = head.low, head.high
    if head.video_in:
        low, high = _of_full(low), _of_full(high)
    if head.video_out:
        table = (table - _BLACK) / _SPAN
    return Cube(table, head.title, low, high, tuple(head.comments))


@dataclass
class _Head:
    """What the keywords of a file say."""

    kind: str = ""
    size: int = 0
    title: str = ""
    low: Triple = (0.0, 0.0, 0.0)
    high: Triple = (1.0, 1.0, 1.0)
    comments: list[str] = field(default_factory=list)
    video_in: bool = False
    video_out: bool = False

    @property
    def entries(self) -> int:
        return self.size if self.kind == "LUT_1D_SIZE" else self.size**3

    def read(self, line: str, number: int) -> None:
        """Take in one line; unknown keywords are ignored, as the specification asks."""
        word, *after = line.split(maxsplit=1)
        rest = after[0] if after else ""
        if line[0] == "#":
            self.comments.append(line[1:].strip()[:_COMMENT])
        elif word == "TITLE":
            self.title = rest.strip().strip('"')[:_COMMENT]
        elif word in LARGEST:
            if self.kind:
                raise ValueError(f"it holds two tables (line {number}), and one is supported")
            self.kind, self.size = word, _size(word, rest, number)
        elif word == "DOMAIN_MIN":
            self.low = _three(rest, number)
        elif word == "DOMAIN_MAX":
            self.high = _three(rest, number)
        elif word in ("LUT_1D_INPUT_RANGE", "LUT_3D_INPUT_RANGE"):
            low, high = _numbers(rest, 2, number)
            self.low, self.high = (low, low, low), (high, high, high)
        elif word == "LUT_IN_VIDEO_RANGE":
            self.video_in = True
        elif word == "LUT_OUT_VIDEO_RANGE":
            self.video_out = True


def cube_lines(cube: Cube) -> Iterable[str]:
    """The lines of a ``.cube`` file with this table; title and comments on one line each, without quotes."""
    for comment in cube.comments:
        yield f"# {comment}\n"
    if cube.title:
        yield f'TITLE "{cube.title}"\n'
    yield f"LUT_{1 if cube.table.ndim == 2 else 3}D_SIZE {cube.size}\n"
    yield "DOMAIN_MIN {:g} {:g} {:g}\n".format(*cube.low)
    yield "DOMAIN_MAX {:g} {:g} {:g}\n".format(*cube.high)
    for r, g, b in cube.table.reshape(-1, 3).tolist():
        yield f"{r:.6f} {g:.6f} {b:.6f}\n"


def lattice(size: int) -> Tensor:
    """The input codes ``S,S,S,3`` of a table's entries over 0..1, in its order (blue, green, red; the value is R, G, B)."""
    axis = torch.linspace(0.0, 1.0, size)
    b, g, r = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([r, g, b], dim=-1)


def _size(word: str, rest: str, number: int) -> int:
    digits = rest.strip()
    if (
        not (digits.isascii() and digits.isdigit())
        or not 2 <= int(digits[:9]) <= LARGEST[word]
        or len(digits) > 9
    ):
        raise ValueError(
            f"line {number} gives {word} as {digits[:40]!r}, and sizes from 2 to {LARGEST[word]} are supported"
        )
    return int(digits)


def _of_full(codes: Triple) -> Triple:
    """Codes of full range for those of video range, both as fractions of the largest code."""
    r, g, b = ((code - _BLACK) / _SPAN for code in codes)
    return r, g, b


def _three(text: str, number: int) -> Triple:
    r, g, b = _numbers(text, 3, number)
    return r, g, b


def _numbers(text: str, count: int, number: int) -> list[float]:
    words = text.split()
    try:
        found = [float(w) for w in words]
    except ValueError:
        found = []
    if len(found) != count or not all(abs(v) <= _MOST for v in found):  # NaN is not, either
        raise ValueError(
            f"line {number} must hold {count} numbers up to {_MOST:g}, not {text.strip()[:40]!r}"
        )
    return found
