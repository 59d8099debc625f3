"""Pack training clips into pieces that travel to a machine with a GPU.

    python -m lab.gpu.pack RUN/clips PIECES [--most 40] [--count 5000] [--select 64] [--crf 4]

RUN/clips is what `sdr2hdr train` makes first. A piece is a tar of at most ``--most`` MiB. The HDR master of each clip becomes
10-bit HEVC, R'G'B' as it is; its SDR, with the damage of its codec and without, becomes lossless H.264.
"""

import argparse
import io
import tarfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray
from torch import Tensor

from sdr2hdr.data.clips import Clip
from sdr2hdr.data.damage import Planes
from sdr2hdr.data.store import clip_paths, read_clip
from sdr2hdr.media.encoder import MIN_SIDE

Bytes = NDArray[np.uint8]
Sizes = NDArray[np.int64]
HDR, SDR = ("hevc", "gbrp10le"), ("h264", "yuv420p")
"""Decoder and pixel format."""

_CODES = 1023 / 65535
_ORDER = (1, 2, 0)  # of R', G', B' in FFmpeg's planes


def encoded(
    frames: Iterable[tuple[Tensor, ...]], encoder: str, form: str, options: dict[str, str]
) -> tuple[Bytes, Sizes]:
    """The packets of frames, and the length of each."""
    context: VideoCodecContext | None = None
    packets: list[bytes] = []
    for number, planes in enumerate(frames):
        height, width = planes[0].shape
        if context is None:
            context = cast(VideoCodecContext, av.CodecContext.create(encoder, "w"))
            context.width, context.height, context.pix_fmt = width, height, form
            context.time_base, context.options = Fraction(1, 25), options
        frame = av.VideoFrame(width, height, form)
        for plane, data in zip(frame.planes, planes, strict=True):
            samples = data.numpy()
            rows = np.zeros((plane.height, plane.line_size // samples.itemsize), samples.dtype)
            rows[:, : plane.width] = samples
            plane.update(rows.tobytes())
        frame.pts = number
        packets += map(bytes, context.encode(frame))
    if context is not None:
        packets += map(bytes, context.encode(None))
    sizes = np.array([len(p) for p in packets], np.int64)
    return np.frombuffer(b"".join(packets), np.uint8), sizes


def decoded(data: Bytes, sizes: Sizes, decoder: str, form: str) -> tuple[Tensor, ...]:
    """The planes of all frames, each ``T,H,W``."""
    context = cast(VideoCodecContext, av.CodecContext.create(decoder, "r"))
    pictures: list[Any] = []
    ends = np.cumsum(sizes)
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        pictures += context.decode(av.Packet(data[begin:end].tobytes()))
    pictures += context.decode(None)
    if any(p.format.name != form for p in pictures):
        raise ValueError(f"a clip decodes as {pictures[0].format.name}, not as {form}")
    planes = zip(
        *((torch.from_dlpack(plane).clone() for plane in p.planes) for p in pictures), strict=True
    )
    return tuple(torch.stack(kept) for kept in planes)


def small(clip: Clip, crf: float) -> bytes:
    """A clip as one member of a piece. Raises ValueError for one that is too small for x265, which crashes on it."""
    if min(clip.codes.shape[-2:]) < MIN_SIDE:
        raise ValueError(f"clips must have sides of {MIN_SIDE} pixels or more")
    ten = (clip.codes.float() * _CODES).round().to(torch.int32).to(torch.uint16)
    masters = (tuple(frame[i] for i in _ORDER) for frame in ten)
    params = "log-level=none:info=0:repeat-headers=1:frame-threads=1:pools=1"
    hdr = encoded(
        masters, "libx265", HDR[1], {"crf": f"{crf:g}", "preset": "medium", "x265-params": params}
    )
    lossless = {"qp": "0", "preset": "veryslow", "threads": "1"}
    arrays: dict[str, NDArray[Any]] = {"hdr": hdr[0], "hdr_sizes": hdr[1]}
    for name, planes in (("sdr", clip.planes), ("clean", clip.clean)):
        arrays[name], arrays[f"{name}_sizes"] = encoded(
            zip(*planes, strict=True), "libx264", SDR[1], lossless
        )
    meta = np.array([clip.scene, clip.look, str(clip.qp), repr(clip.brightness)])
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, meta=meta, **arrays)
    return out.getvalue()


def large(data: bytes) -> Clip:
    """The inverse of :func:`small`, but for what 10 bits and the CRF take from the master."""
    with np.load(io.BytesIO(data), allow_pickle=False) as z:
        planes = decoded(z["hdr"], z["hdr_sizes"], *HDR)
        sdr, clean = (_three(decoded(z[n], z[f"{n}_sizes"], *SDR)) for n in ("sdr", "clean"))
        scene, look, qp, brightness = (str(v) for v in z["meta"])
    codes = torch.stack([planes[_ORDER.index(i)] for i in range(3)], dim=1)
    wide = (codes.to(torch.int32).float() / _CODES).round().to(torch.int32)
    return Clip(sdr, clean, wide, scene, look, int(qp), float(brightness))


def _three(planes: tuple[Tensor, ...]) -> Planes:
    y, cb, cr = planes
    return y, cb, cr


def members(clips: Path, counts: dict[str, int], crf: float) -> Iterator[tuple[str, bytes]]:
    for split, count in counts.items():
        for path in clip_paths(clips / split, count):
            yield f"{split}/{path.name}", small(read_clip(path), crf)


def write_pieces(found: Iterable[tuple[str, bytes]], folder: Path, most: int) -> list[Path]:
    """Tars of at most ``most`` bytes each, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces: list[Path] = []
    held: list[tuple[str, bytes]] = []
    size = 1 << 14  # a tar's end
    for name, data in found:
        room = 1024 + len(data)
        if held and size + room > most:
            pieces.append(_write(held, folder / f"piece-{len(pieces):03d}.tar"))
            held, size = [], 1 << 14
        held.append((name, data))
        size += room
    if held:
        pieces.append(_write(held, folder / f"piece-{len(pieces):03d}.tar"))
    return pieces


def _write(held: list[tuple[str, bytes]], path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in held:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("clips", type=Path)
    options.add_argument("pieces", type=Path)
    options.add_argument("--most", type=float, default=40, help="MiB of a piece")
    options.add_argument("--count", type=int, default=1 << 30, help="training clips")
    options.add_argument("--select", type=int, default=64, help="clips to choose on")
    options.add_argument("--crf", type=float, default=4, help="of the masters")
    a = options.parse_args()
    counts = {"select": a.select, "train": a.count}
    pieces = write_pieces(members(a.clips, counts, a.crf), a.pieces, int(a.most * (1 << 20)))
    for piece in pieces:
        print(f"{piece}: {piece.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
