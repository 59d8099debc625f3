"""Y'CbCr planes to R'G'B' for reading, and R'G'B' codes to planes for writing.

Sources: ITU-T H.273 8.3 (matrices, ranges) and 8.7 (where chroma samples sit), BT.709-6 item 4.6, BT.601-7 2.5.3, BT.2020-2
tables 4 and 5 (non-constant luminance, 10 and 12 bit), BT.2100-2 table 9 (limited and full range).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from sdr2hdr.color.luma import MATRICES, weights

SITINGS: dict[str, tuple[bool, bool]] = {
    "left": (True, False),
    "center": (False, False),
    "topleft": (True, True),
    "top": (False, True),
}
"""Whether chroma sits on the first luma sample of its group horizontally, vertically; if not, in the middle (H.273 8.7)."""

KR, KG, KB = weights("bt2020nc")
Y_STEPS, C_STEPS = 876.0, 896.0  # 10-bit limited range, H.273 8.3 equations 35 to 37


@dataclass(frozen=True)
class YuvLayout:
    """How integer planes stand for a picture.

    ``matrix``: a key of :data:`sdr2hdr.color.luma.MATRICES` or ``rgb`` (planes are then R', G', B'). ``depth``: bits of a
    sample, 8 to 16. ``sub``: log2 of the horizontal and vertical chroma subsampling, (1, 1) for 4:2:0. ``siting``: a key of
    :data:`SITINGS`.
    ``grey``: the picture has a Y' plane alone.
    """

    matrix: str
    full_range: bool = False
    depth: int = 8
    sub: tuple[int, int] = (1, 1)
    siting: str = "left"
    grey: bool = False

    @property
    def unit(self) -> float:
        """Codes in a step of 8 bits."""
        return 2.0 ** (self.depth - 8)

    def small(self, height: int, width: int) -> tuple[int, int]:
        """The size of a chroma plane, of a luma plane whose sides the subsampling divides."""
        return height >> self.sub[1], width >> self.sub[0]


HDR10 = YuvLayout("bt2020nc", depth=10, siting="topleft")
"""What most HDR10 files hold (BT.2100-2; type 2 siting as UHD Blu-ray asks)."""

PIXEL_FORMATS = {
    "yuv420p10": HDR10,
    "yuv422p10": replace(HDR10, sub=(1, 0)),
    "yuv444p10": replace(HDR10, sub=(0, 0)),
    "yuv420p12": replace(HDR10, depth=12),
    "yuv422p12": replace(HDR10, depth=12, sub=(1, 0)),
    "yuv444p12": replace(HDR10, depth=12, sub=(0, 0)),
    "gbrp16": YuvLayout("rgb", full_range=True, depth=16, sub=(0, 0), siting="topleft"),
}
"""What :func:`to_yuv` can write, by FFmpeg's names without the order of bytes; planes of R'G'B' are R', G', B' here."""

_BAND = 30_000
"""Pixels worked on at once. They stay in the cache, and on one thread, since torch parts nothing below 32,768: reading, rendering
and encoding run side by side and share the processors, where waking a second thread for each small step costs more than it gains.
"""


def from_yuv(planes: tuple[Tensor, ...], layout: YuvLayout) -> Tensor:
    """Planes of codes to R'G'B' ``3,H,W`` float32 in 0..1 (H.273 8.3, inverted).

    Planes are ``H,W`` and, subsampled, ``ceil(H/2^v),ceil(W/2^h)``, of any dtype. Chroma is interpolated linearly from
    where it sits. Codes above nominal white or below black, and colours outside R'G'B', are clamped: the models are
    trained on 0..1, and a display at its nominal white shows no more either.
    """
    top = float((1 << layout.depth) - 1)
    unit = float(1 << (layout.depth - 8))
    black, span = (0.0, top) if layout.full_range else (16.0 * unit, 219.0 * unit)
    if layout.matrix == "rgb" and not layout.grey:
        return (
            torch.stack([p.to(torch.float32, copy=True) for p in planes[:3]])
            .sub_(black)
            .div_(span)
            .clamp_(0.0, 1.0)
        )
    if layout.grey:
        return (
            planes[0]
            .to(torch.float32, copy=True)
            .sub_(black)
            .div_(span)
            .clamp_(0.0, 1.0)
            .expand(3, -1, -1)
            .contiguous()
        )
    reach = top if layout.full_range else 224.0 * unit
    y, cb, cr = planes[:3]
    out = torch.empty(3, *y.shape, dtype=torch.float32, device=y.device)
    for here in _bands(y, 1 << layout.sub[1]):
        luma = y[here].to(torch.float32, copy=True).sub_(black).div_(span)
        tints = _tints(cb, cr, 128.0 * unit, reach, layout, here, y.shape[1])
        for channel, tint in zip(out, tints, strict=True):
            torch.add(luma, tint, out=channel[here]).clamp_(0.0, 1.0)
    return out


def to_yuv(
    codes: Tensor, *, seed: int | None, peak_code: float, layout: YuvLayout = HDR10
) -> tuple[Tensor, Tensor, Tensor]:
    """R'G'B' codes to planes of a layout of :data:`PIXEL_FORMATS`, or one that differs from it in its matrix.

    ``codes`` is ``3,H,W`` float32 R'G'B' of any transfer, clamped here to 0..``peak_code``; odd sizes repeat their last row or
    column. Returns uint16 Y' ``H,W``, Cb and Cr (BT.2020-2 table 5), or R', G' and B' ``H,W``. Subsampled chroma is filtered
    with [1 2 1]/4 and sits on the first luma sample of its group.

    With a ``seed`` (the frame's pts) triangular noise of one code up and down is added before rounding, so that slow gradients
    do not break into bands and the mean stays. It is an integer hash of seed and position and hence the same everywhere.
    Black gets none and stays black. Without a seed the planes are the formula, rounded.

    ``peak_code`` holds exactly: decoded again (:func:`brightest`), no R', G' or B' lies above it, because Y' is lowered where
    rounding, noise or chroma filtering would push one there.
    """
    height, width = codes.shape[-2:]
    if height % 2 or width % 2:
        codes = pad(codes[None], (0, width % 2, 0, height % 2), mode="replicate")[0]
        height, width = codes.shape[-2:]
    if layout.matrix == "rgb":
        return _to_rgb(codes, seed, peak_code, layout)
    kr, kb = MATRICES[layout.matrix]
    (across, down), unit = layout.sub, layout.unit
    black, y_steps, neutral, c_steps = 16.0 * unit, 219.0 * unit, 128.0 * unit, 224.0 * unit
    dtype, device = torch.int16, codes.device
    y_plane = torch.empty(height, width, dtype=dtype, device=device)
    cb_plane, cr_plane = (
        torch.empty(layout.small(height, width), dtype=dtype, device=device) for _ in range(2)
    )
    noise = None if seed is None else _Noise(seed, height, width, layout, device)
    for here in _bands(y_plane, 2):
        top, end = here.start, here.stop
        small = slice(top >> down, end >> down)
        above = max(top - down, 0)  # a filter down reaches one row up
        r, g, b = (c[above:end].clamp(0.0, peak_code) for c in codes)
        # products and sums are kept apart, since fusing them rounds differently from one processor to another
        y = (r * kr).add_(g.mul_(1.0 - kr - kb)).add_(b * kb)
        cb = _filter(b.sub_(y), layout.sub, top == 0).mul_(c_steps / (2.0 * (1.0 - kb)))
        cr = _filter(r.sub_(y), layout.sub, top == 0).mul_(c_steps / (2.0 * (1.0 - kr)))
        y = y[top - above :].mul_(y_steps)
        if noise is not None:
            # no more noise than signal: nothing is clipped at black, and the mean holds there too
            room = y.clamp(0.0, 1.0)
            beneath = room[:: 1 << down, :: 1 << across]
            noise.add(cb, 1, small, beneath)
            noise.add(cr, 2, small, beneath)
            noise.add(y, 0, here, room)
        # adding a half and cutting off rounds to the nearest: all is positive
        y_plane[here] = y.add_(black + 0.5).clamp_(black, black + y_steps)
        for plane, c in ((cb_plane, cb), (cr_plane, cr)):
            plane[small] = c.add_(neutral + 0.5).clamp_(
                neutral - c_steps / 2, neutral + c_steps / 2
            )
    if peak_code < 1.0:
        _hold_peak(y_plane, cb_plane, cr_plane, peak_code, layout)
    return y_plane.view(torch.uint16), cb_plane.view(torch.uint16), cr_plane.view(torch.uint16)


def _to_rgb(
    codes: Tensor, seed: int | None, peak_code: float, layout: YuvLayout
) -> tuple[Tensor, Tensor, Tensor]:
    """Planes of R', G' and B', full range; rounding never passes the peak."""
    _, height, width = codes.shape
    top = float((1 << layout.depth) - 1)
    noise = None if seed is None else _Noise(seed, height, width, layout, codes.device)
    planes = []
    for number, channel in enumerate(codes):
        c = channel.clamp(0.0, peak_code).mul_(top)
        if noise is not None:
            noise.add(c, number, slice(0, height), c.clamp(0.0, 1.0))
        # by way of 32 and then 16 bits with a sign, which every device can convert to
        whole = c.add_(0.5).clamp_(0.0, rgb_peak(peak_code, layout)).to(torch.int32)
        planes.append(whole.to(torch.int16).view(torch.uint16))
    return planes[0], planes[1], planes[2]


def rgb_peak(peak_code: float, layout: YuvLayout) -> float:
    """The highest whole code of a channel of R'G'B' that is not above the peak."""
    return float(int(peak_code * ((1 << layout.depth) - 1)))


def brightest(planes: tuple[Tensor, Tensor, Tensor], layout: YuvLayout = HDR10) -> Tensor:
    """max(R', G', B') as codes ``H,W`` float32 of planes as :func:`to_yuv` leaves them; may pass 0..1 a little.

    PQ rises everywhere, so the brightest channel in code is the brightest in light. Chroma is interpolated linearly.
    """
    if layout.matrix == "rgb":
        r, g, b = (p.to(torch.float32) for p in planes)
        return _most([r, g, b]).div_(float((1 << layout.depth) - 1))
    y, cb, cr = planes
    unit = layout.unit
    out = torch.empty(y.shape, dtype=torch.float32, device=y.device)
    for here in _bands(y, 2):
        tint = _most(_tints(cb, cr, 128.0 * unit, 224.0 * unit, layout, here, y.shape[1]))
        luma = y[here].to(torch.float32, copy=True).sub_(16.0 * unit).div_(219.0 * unit)
        torch.add(luma, tint, out=out[here])
    return out


def highest(planes: tuple[Tensor, Tensor, Tensor], layout: YuvLayout = HDR10) -> Tensor:
    """The highest R', G' and B' of any pixel as codes ``3`` float32 0..1, of planes as :func:`brightest` takes them."""
    if layout.matrix == "rgb":
        codes = torch.stack([p.to(torch.int32).amax() for p in planes])
        return codes.to(torch.float32).div_(float((1 << layout.depth) - 1))
    y, cb, cr = planes
    unit = layout.unit
    tops = []
    for here in _bands(y, 2):
        luma = y[here].to(torch.float32, copy=True).sub_(16.0 * unit).div_(219.0 * unit)
        tints = _tints(cb, cr, 128.0 * unit, 224.0 * unit, layout, here, y.shape[1])
        tops.append(torch.stack([tint.add_(luma).amax() for tint in tints]))
    return torch.stack(tops).amax(0).clamp_(0.0, 1.0)


def sliver(layout: YuvLayout) -> float:
    """What is taken off the limit of Y': above what float32 may err by in its sum, and far below a code."""
    return 1.25e-4 * layout.unit


def _hold_peak(y: Tensor, cb: Tensor, cr: Tensor, peak_code: float, layout: YuvLayout) -> None:
    """Lower Y' in place to the highest code at which no channel exceeds the peak."""
    unit = layout.unit
    black = 16.0 * unit
    for here in _bands(y, 2):
        if y.device.type == "cpu" and _below(y, cb, cr, here, peak_code, layout):
            continue
        tint = _most(_tints(cb, cr, 128.0 * unit, 224.0 * unit, layout, here, y.shape[1]))
        limit = tint.neg_().add_(peak_code).mul_(219.0 * unit).add_(black - sliver(layout))
        torch.minimum(y[here], limit.clamp_min_(black).to(torch.int16), out=y[here])


def _below(
    y: Tensor, cb: Tensor, cr: Tensor, here: slice, peak_code: float, layout: YuvLayout
) -> bool:
    """Whether a band lies below the peak even with the worst of its chroma, as most do. To ask a GPU would mean to wait for it.

    Interpolation passes no extreme of its band, and R'-Y' and B'-Y' are below 2 Cr and 2 Cb, G'-Y' below the larger of -Cb
    and -Cr.
    """
    unit, down = layout.unit, layout.sub[1]
    small = slice(here.start >> down, (here.stop >> down) + 1)
    ends = [
        (int(end) - 128.0 * unit) / (224.0 * unit) for c in (cb, cr) for end in c[small].aminmax()
    ]
    worst = max(-ends[0], 2.0 * ends[1], -ends[2], 2.0 * ends[3])
    return int(y[here].max()) <= unit * (16.0 + 219.0 * (peak_code - worst)) - 1.0


def _most(tints: list[Tensor]) -> Tensor:
    r, g, b = tints
    return torch.maximum(torch.maximum(r, g, out=r), b, out=r)


def _bands(plane: Tensor, multiple: int) -> Iterator[slice]:
    """Runs of a plane's rows, each a multiple long, but for the last; on a GPU, which has no such cache, the whole plane."""
    height, width = plane.shape
    if plane.device.type != "cpu":
        return iter((slice(0, height),))
    rows = max(1, _BAND // width // multiple) * multiple
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _tints(
    cb: Tensor, cr: Tensor, neutral: float, reach: float, layout: YuvLayout, here: slice, width: int
) -> list[Tensor]:
    """R' - Y', G' - Y', B' - Y' in a band of luma rows, three of ``rows,width`` (H.273 8.3 equations 38 to 40, inverted).

    What each channel adds to Y' is made while the planes are still small: interpolation and sums may change places.
    """
    kr, kb = MATRICES[layout.matrix]
    kg = 1.0 - kr - kb
    on_left, on_top = SITINGS[layout.siting]
    log2_across, log2_down = layout.sub
    first, last = here.start >> log2_down, -(-here.stop >> log2_down)
    above = max(first - 1, 0)  # a chroma row more on either side to interpolate with
    b, r = (
        c[above : last + 1].to(torch.float32, copy=True).sub_(neutral).div_(reach) for c in (cb, cr)
    )
    g = (b * (-2.0 * kb * (1.0 - kb) / kg)).sub_(r * (2.0 * kr * (1.0 - kr) / kg))
    r.mul_(2.0 * (1.0 - kr))
    b.mul_(2.0 * (1.0 - kb))
    skip, rows = (first - above) << log2_down, here.stop - here.start
    tall = (_stretch(c, 0, log2_down, on_top)[skip : skip + rows] for c in (r, g, b))
    return [_stretch(c, 1, log2_across, on_left)[:, :width] for c in tall]


def _stretch(x: Tensor, dim: int, log2: int, on_first: bool) -> Tensor:
    """Linear interpolation of samples 2^log2 apart along dimension 0 or 1; the edge repeats."""
    if log2 == 0:
        return x
    step, count = 1 << log2, x.shape[dim]
    shape = list(x.shape)
    shape[dim] = count * step
    out = x.new_empty(shape)
    lead = (
        0.0 if on_first else (step - 1) / 2
    )  # how far the first chroma sample lies from the first luma sample
    for phase in range(step):
        to = out[phase::step] if dim == 0 else out[:, phase::step]
        place = (phase - lead) / step
        if place == 0:
            to.copy_(x)
            continue
        # between the sample itself and the one before it (place < 0) or after it
        own, other, edge = (1, 0, 0) if place < 0 else (0, 1, count - 1)
        share = abs(place)
        near, far = x.narrow(dim, own, count - 1), x.narrow(dim, other, count - 1)
        torch.mul(near, 1.0 - share, out=to.narrow(dim, own, count - 1)).add_(far * share)
        to.select(dim, edge).copy_(x.select(dim, edge))
    return out


def _filter(c: Tensor, sub: tuple[int, int], at_top: bool) -> Tensor:
    """[1 2 1]/4 in each subsampled direction, kept at every other sample.

    If it is filtered down, row 0 is the row above the first that is kept, except at the top.
    """
    across, down = sub
    if not across:
        return c
    h = c[:, 0::2] * 2.0
    h += c[:, 1::2]
    h[:, 1:] += c[:, 1:-1:2]
    h[:, 0] += c[:, 0]
    if not down:
        return h.mul_(1.0 / 4.0)
    own, below = (h[0::2], h[1::2]) if at_top else (h[1::2], h[2::2])
    v = own * 2.0
    v += below
    if at_top:
        v[0] += own[0]
        v[1:] += below[:-1]
    else:
        v += h[0:-1:2]
    return v.mul_(1.0 / 16.0)


class _Noise:
    """Triangular noise in (-1, 1) in steps of 1/256, zero in the mean, a function of (seed, plane, row, column) alone.

    A row's key and a column's key, each thoroughly mixed, are added and mixed once more; products wrap at 32 bits. Each
    number of 32 bits serves two neighbours, whose noise is the sum of two of its bytes.
    """

    def __init__(
        self, seed: int, height: int, width: int, layout: YuvLayout, device: torch.device
    ) -> None:
        keys = noise_keys(seed, height, width, layout, device)
        self._keys = [(down[:, None], across) for down, across in keys]

    def add(self, to: Tensor, plane: int, rows: slice, room: Tensor) -> None:
        """Add noise of plane 0, 1 or 2 in these rows to ``rows,W`` in place, ``room`` 0..1 times as strong."""
        down, across = self._keys[plane]
        x = down[rows] + across
        x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).mul_(0x2C1B3C6D)
        x.bitwise_xor_((x >> 12).bitwise_and_(0xFFFFF)).mul_(0x297A2D39)
        x = (x & 0xFF00FF).add_((x >> 8).bitwise_and_(0xFF00FF))
        noise = x.view(torch.int16)[:, : to.shape[1]].to(torch.float32, copy=True)
        # a power of two as the factor: the product is exact, so fusing it with the sum changes nothing
        to.add_(noise.sub_(255.0).mul_(room), alpha=2.0**-8)


def noise_keys(
    seed: int, height: int, width: int, layout: YuvLayout, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """For each plane of a picture, the keys of its rows and of its columns two by two: well-mixed 32-bit numbers, as int32."""
    small = layout.small(height, width)
    sizes = [(h, (w + 1) // 2) for h, w in ((height, width), small, small)]
    places, plane = _noise_places(tuple(sizes), device)
    first = (3 * seed + 2**63) % 2**64 - 2**63  # as 64 bits hold it
    counts = [count for size in sizes for count in size]
    keys = iter(torch.split(_mixed(places, plane + first), counts))
    return list(zip(keys, keys, strict=True))


@lru_cache(maxsize=8)  # a folder of photographs may have as many sizes as files
def _noise_places(
    sizes: tuple[tuple[int, int], ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """A number for each row and pair of columns of planes of ``sizes``, one plane after the other, and which plane it is in."""
    places = [
        torch.arange(count) * 0x1E3779B1 + 0x632BE5AB * axis
        for size in sizes
        for axis, count in enumerate(size)
    ]
    counts = torch.tensor([sum(size) for size in sizes])
    planes = torch.arange(len(sizes)).repeat_interleave(counts)
    return torch.cat(places).to(device), planes.to(device)


def _mixed(x: Tensor, seeds: Tensor) -> Tensor:
    """Numbers that are mixed with seeds of 63 bits, int64 both, as int32."""
    for word in (seeds & 0xFFFFFFFF, (seeds >> 32) & 0x7FFFFFFF):
        x = (x ^ word) & 0xFFFFFFFF
        for shift, factor in (
            (16, 0x21F0AAAD),
            (15, 0x735A2D97),
        ):  # below 2^31, so that no product leaves 64 bits
            x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
        x = x ^ (x >> 15)
    return (x - ((x >> 31) << 32)).to(torch.int32)
