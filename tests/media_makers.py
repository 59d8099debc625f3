"""Clips for tests, written with PyAV."""

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.audio
import av.container
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sdr2hdr.media.picture import Picture
from sdr2hdr.media.source import Source

Planes = Sequence[NDArray[Any]]

SRT = b"1\n00:00:00,100 --> 00:00:00,600\nHello\n\n2\n00:00:00,700 --> 00:00:01,000\nthere\n"


def moving_texture(index: int, shapes: Sequence[tuple[int, int]], depth: int) -> Planes:
    """Planes of a texture that drifts, with grain: every picture differs and predicts from its neighbours."""
    grain = np.random.default_rng(index)
    planes = []
    for number, (height, width) in enumerate(shapes):
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        wave = np.sin((x + 2 * index) / (5 + number)) * np.cos((y - index) / (7 + number))
        code = (128 + 80 * wave + grain.normal(0, 4, (height, width))) * 2 ** (depth - 8)
        planes.append(
            code.round().clip(0, 2**depth - 1).astype(np.uint8 if depth == 8 else np.uint16)
        )
    return planes


def frame_of(planes: Planes, pix_fmt: str, size: tuple[int, int] | None = None) -> av.VideoFrame:
    """A frame from its planes in memory order; packed formats need the size, since a row holds more than its width."""
    width, height = size or planes[0].shape[::-1]
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, data in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // data.itemsize), data.dtype)
        rows[:, : data.shape[1]] = data
        plane.update(rows.tobytes())
    return frame


def plane_shapes(pix_fmt: str, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of every plane of a planar format at a width and height."""
    frame = av.VideoFrame(*size, pix_fmt)
    return [(plane.height, plane.width) for plane in frame.planes]


def make_clip(
    path: Path,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    frames: int = 12,
    rate: Fraction | int = 25,
    options: dict[str, str] | None = None,
    picture: Callable[[int], Planes] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    audio: Sequence[str] = (),
    subtitles: Sequence[str] = (),
    chapters: Sequence[str] = (),
    rotation: int = 0,
    aspect: Fraction | None = None,
    color_range: int = 0,
    colorspace: int = 2,
    color_primaries: int = 2,
    color_trc: int = 2,
) -> Path:
    """Write a clip and return its path.

    ``picture`` gives the planes of each frame (a moving texture otherwise); ``pts`` are in ``time_base`` (1/rate otherwise).
    ``audio`` names an encoder for each sound track, ``subtitles`` a language for each SRT track, ``chapters`` a title a second.
    ``rotation`` is the clockwise turn to show it, in degrees. Colour numbers are those of H.273.
    """
    time_base = time_base or 1 / Fraction(rate)
    if pix_fmt.startswith("gbr"):
        colorspace = 0  # or FFV1 refuses
    depth = 8 if not pix_fmt.endswith("le") else av.VideoFormat(pix_fmt).components[0].bits
    shapes = plane_shapes(pix_fmt, size)
    seconds = Fraction(frames) / Fraction(rate)
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=Fraction(rate), options=options or {})
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        context = video.codec_context
        context.time_base = time_base
        context.color_range, context.colorspace = color_range, colorspace
        context.color_primaries, context.color_trc = color_primaries, color_trc
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(-rotation)
        tracks = [out.add_stream(name, rate=48000, layout="mono") for name in audio]
        texts = [av.open(io.BytesIO(SRT), format="srt") for _ in subtitles]
        copies = [out.add_stream_from_template(text.streams[0], opaque=True) for text in texts]
        for copy, language in zip(copies, subtitles, strict=True):
            copy.metadata["language"] = language
        if chapters:
            out.set_chapters(
                [
                    {
                        "id": i,
                        "start": i * 1000,
                        "end": (i + 1) * 1000,
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": t},
                    }
                    for i, t in enumerate(chapters)
                ]
            )
        for index in range(frames):
            frame = frame_of(
                picture(index) if picture else moving_texture(index, shapes, depth), pix_fmt, size
            )
            frame.pts, frame.time_base = (index if pts is None else pts[index]), time_base
            frame.color_range, frame.colorspace = color_range, colorspace
            frame.color_primaries, frame.color_trc = color_primaries, color_trc
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for number, track in enumerate(tracks):
            _write_tone(out, track, 440 * (number + 1), seconds)
        for text, copy in zip(texts, copies, strict=True):
            for packet in text.demux():
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
            text.close()
    return path


def _write_tone(
    out: av.container.OutputContainer, track: av.audio.AudioStream, hertz: int, seconds: Fraction
) -> None:
    count = max(2048, int(seconds * 48000))
    wave = np.sin(2 * np.pi * hertz * np.arange(count) / 48000)[None]
    sound = av.AudioFrame.from_ndarray(
        (wave * 0.2).astype(np.float32), format="fltp", layout="mono"
    )
    sound.sample_rate, sound.pts, sound.time_base = 48000, 0, Fraction(1, 48000)
    size = track.codec_context.frame_size or 1024
    resampler = av.AudioResampler(track.codec_context.format, "mono", 48000, frame_size=size)
    for piece in [*resampler.resample(sound), *resampler.resample(None)]:
        out.mux(track.encode(piece))
    out.mux(track.encode(None))


def exif(seconds: tuple[int, int] | None, iso: int | None = None) -> bytes:
    """The EXIF data of a JPEG (CIPA DC-008): ExposureTime and PhotographicSensitivity, written by hand, little endian."""
    entries = []
    if seconds is not None:  # a rational, which lies behind the table of entries
        entries.append(
            struct.pack("<HHII", 0x829A, 5, 1, 26 + 2 + 12 * (1 + (iso is not None)) + 4)
        )
    if iso is not None:
        entries.append(struct.pack("<HHIHH", 0x8827, 3, 1, iso, 0))
    first = struct.pack(
        "<HHHIII", 1, 0x8769, 4, 1, 26, 0
    )  # IFD 0 at 8: where the Exif IFD is, and that no other follows
    own = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    return (
        b"Exif\0\0II*\0"
        + struct.pack("<I", 8)
        + first
        + own
        + (struct.pack("<II", *seconds) if seconds else b"")
    )


def make_jpeg_clip(
    path: Path, pictures: Sequence[NDArray[np.uint8]], told: Sequence[bytes | None]
) -> Path:
    """A clip of 25 grey JPEGs ``H,W`` a second, each with the EXIF data that is told of it, as such cameras write them."""
    height, width = pictures[0].shape
    with av.open(str(path), "w") as out:
        video = out.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt, video.time_base = (
            width,
            height,
            "yuvj420p",
            Fraction(1, 25),
        )
        for index, (picture, data) in enumerate(zip(pictures, told, strict=True)):
            file = io.BytesIO()
            extra = {} if data is None else {"exif": data}
            Image.fromarray(picture).convert("RGB").save(file, "jpeg", quality=97, **extra)
            packet = av.Packet(file.getvalue())
            packet.pts = packet.dts = index
            packet.duration, packet.time_base, packet.stream, packet.is_keyframe = (
                1,
                Fraction(1, 25),
                video,
                True,
            )
            out.mux(packet)
    return path


def counted_pictures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pts of every picture that any source gives from now on."""
    taken: list[int] = []
    pictures = Source.pictures

    def counted(
        self: Source, start_pts: int | None = None, *, qps: bool = False
    ) -> Iterator[Picture]:
        for picture in pictures(self, start_pts, qps=qps):
            taken.append(picture.pts)
            yield picture

    monkeypatch.setattr(Source, "pictures", counted)
    return taken
