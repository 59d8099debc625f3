"""Sources whose sound says which second of it is heard, and clips cut by edit lists."""

import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from judges import need
from numpy.typing import NDArray

PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=4")
STEPS = ("-f", "lavfi", "-i", "aevalsrc='0.3*sin(2*PI*t*(400+200*floor(t)))':s=48000:d=4")
"""A tone of 400 Hz in the first second, of 600 Hz in the second one, and so on."""


def run_ffmpeg(path: Path, *arguments: str) -> Path:
    """A file made by the ffmpeg program: an outside writer."""
    subprocess.run(
        [need("ffmpeg"), "-v", "error", "-y", *arguments, str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path


def write_film(path: Path, *arguments: str, sounds: int = 1) -> Path:
    """Four seconds of moving picture with stepping tones; the arguments choose the codecs."""
    maps = [word for number in range(sounds + 1) for word in ("-map", str(number))]
    return run_ffmpeg(
        path, *PICTURE, *STEPS * sounds, *maps, "-pix_fmt", "yuv420p", "-g", "25", *arguments
    )


def heard(path: Path, number: int = 0) -> tuple[NDArray[np.float32], float]:
    """All samples of the first channel that FFmpeg plays, and when the first one is heard."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=number))
    start = frames[0].pts
    assert start is not None and frames[0].time_base is not None
    resampler = av.AudioResampler(format="fltp")
    parts = [ready.to_ndarray()[0] for frame in frames for ready in resampler.resample(frame)]
    return np.concatenate(parts), float(start * frames[0].time_base)


def pitch(samples: NDArray[np.float32], rate: int = 48000) -> float:
    """The strongest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at < end:
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, at + 8, at + size
        at += size


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def cut_by_edits(source: Path, path: Path, edits: Sequence[tuple[float, float]]) -> Path:
    """An MP4 of ffmpeg's cut as a phone cuts it: all of it is there, edit lists say what is played (seconds)."""
    data = source.read_bytes()
    *_, (name, at, end) = _boxes(data, 0, len(data))
    assert name == b"moov" and end == len(data)  # in last place nothing moves when it grows
    scale = 1000
    parts = b""
    for kind, start, stop in _boxes(data, at, end):
        body = bytearray(data[start:stop])
        if kind == b"mvhd":
            (scale,) = struct.unpack_from(">I", body, 12)
            struct.pack_into(">I", body, 16, round(sum(b - a for a, b in edits) * scale))
        if kind == b"trak":
            body = bytearray(_cut_track(bytes(body), edits, scale))
        parts += _box(kind, bytes(body))
    path.write_bytes(data[: at - 8] + _box(b"moov", parts))
    return path


def _cut_track(track: bytes, edits: Sequence[tuple[float, float]], scale: int) -> bytes:
    inside = {name: track[at:end] for name, at, end in _boxes(track, 0, len(track))}
    media = {
        name: inside[b"mdia"][at:end]
        for name, at, end in _boxes(inside[b"mdia"], 0, len(inside[b"mdia"]))
    }
    (media_scale,) = struct.unpack_from(">I", media[b"mdhd"], 12)
    priming = 0
    if b"edts" in inside:  # where the one edit that ffmpeg writes starts
        (priming,) = struct.unpack_from(">i", inside[b"edts"], 8 + 8 + 4)
    table = struct.pack(">II", 0, len(edits))
    for start, stop in edits:
        table += struct.pack(
            ">IiI", round((stop - start) * scale), priming + round(start * media_scale), 0x10000
        )
    inside[b"edts"] = _box(b"elst", table)
    order = [b"tkhd", b"edts", *(name for name in inside if name not in (b"tkhd", b"edts"))]
    return b"".join(_box(name, inside[name]) for name in order)
