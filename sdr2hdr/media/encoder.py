"""Encoding one chunk of the picture into a chunk file, and reading chunk files back.

A chunk file holds the encoder's packets with their pts and durations in the source's own time base, whatever that is.
No common container keeps both exactly: Matroska counts milliseconds, NUT has no durations, MP4 only decode steps.
Layout: magic, length and JSON of the settings and of the codec's private data, then a record per packet in decode order, then
a record of size 0 that carries the number of packets, so that a file cut short is known as such.
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import av
import av.error
from av.video.codeccontext import VideoCodecContext
from torch import Tensor

from sdr2hdr.codecs import CODECS, HLG, HLG_COMPATIBLE, PQ, software
from sdr2hdr.color.yuv import PIXEL_FORMATS, YuvLayout
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.bitstreams import stream_parameters
from sdr2hdr.media.encoders import ENCODERS, Encoder

MIN_SIDE = 64  # x265 crashes on some smaller pictures (such as 34x34)

SDR = "sdr"
"""The transfer of a picture that is BT.709 SDR."""

_COLOURS = {PQ: (9, 16, 9), HLG: (9, 18, 9), HLG_COMPATIBLE: (9, 14, 9), SDR: (1, 1, 1)}
"""Primaries, transfer and matrix (H.273 tables 2 to 4): BT.2020 with non-constant luminance in PQ, HLG, or the transfer
of BT.2020 SDR together with an SEI message that names HLG (H.265 D.3.39); BT.709."""

_MAGIC = b"S2HCHNK2"
_TELLING_PACKETS = ("hevc", "av1")
"""Codecs whose packets hold all that a decoder must know."""

_RECORD = struct.Struct(">IqqB")  # size, pts, duration (0: not known), 1 if a key frame


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """Everything the packets depend on besides the pictures; nothing in here may come from the machine.

    ``width`` and ``height`` in luma samples, both even; ``rate`` in frames per second steers the rate control alone;
    ``frame_threads`` is x265's, whose result may depend on it. ``transfer`` is one of :data:`sdr2hdr.codecs.TRANSFERS`, or
    :data:`SDR`. ``encoder`` is a word of :data:`sdr2hdr.codecs.ENCODERS`; without one it is the codec's software encoder.
    ``pix_fmt`` is a word of :data:`sdr2hdr.codecs.FORMATS`.
    """

    codec: str
    crf: float
    preset: str
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    sample_aspect_ratio: Fraction = Fraction(1)
    keyint: int = 120
    frame_threads: int = 3
    transfer: str = PQ
    encoder: str = ""
    pix_fmt: str = "yuv420p10"

    @property
    def writer(self) -> Encoder:
        """The encoder. Raises OutputError for a codec that is not known, or an encoder that does not write it."""
        if self.codec not in CODECS:
            raise OutputError(
                f"The codec {self.codec!r} is not known; choose one of {', '.join(CODECS)}."
            )
        try:
            return ENCODERS[self.codec, self.encoder or software(self.codec)]
        except KeyError:
            raise OutputError(
                f"Encoder {self.encoder} does not write {self.codec}; choose another --encoder."
            ) from None

    @property
    def colour(self) -> tuple[int, int, int]:
        """Primaries, transfer and matrix, as numbers of H.273; the matrix is 0 for planes of R'G'B'."""
        primaries, transfer, matrix = _COLOURS[self.transfer]
        return primaries, transfer, 0 if self.layout.matrix == "rgb" else matrix

    @property
    def layout(self) -> YuvLayout:
        """How the planes stand for a picture in HDR."""
        return PIXEL_FORMATS[self.pix_fmt]

    @property
    def is_420(self) -> bool:
        return self.layout.sub == (1, 1)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; fractions are strings."""
        return {k: str(v) if isinstance(v, Fraction) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        fractions = {k: Fraction(data[k]) for k in ("time_base", "rate", "sample_aspect_ratio")}
        return cls(**{**data, **fractions})


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """What a chunk file holds; ``parameters`` is the SHA-256 of its parameter sets, equal in chunks that can be joined."""

    frames: int
    first_pts: int
    last_pts: int
    bytes: int
    sha256: str
    parameters: str


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One frame as the encoder gave it; pts and duration in the settings' time base, duration 0 if not known."""

    data: bytes
    pts: int
    duration: int
    is_key: bool


class EncoderGone(OutputError):
    """A hardware encoder does not work, or no longer. The message is the reason, without a way out: software does the same."""


def _open_encoder(settings: EncodeSettings) -> VideoCodecContext | None:
    """FFmpeg's encoder; None if the pictures are made without it."""
    writer = settings.writer
    if settings.width % 2 or settings.height % 2 or min(settings.width, settings.height) < MIN_SIDE:
        raise InputError(
            f"A picture of {settings.width}x{settings.height} cannot be encoded: both sides must be even and at least"
            f" {MIN_SIDE}; crop or scale the source first."
        )
    if writer.picture is not None:
        return None
    name = writer.name
    os.environ.setdefault(
        "SVT_LOG", "1"
    )  # SVT-AV1 prints its settings on stderr unless it is set to print only errors
    try:
        context = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
    except ValueError as error:
        raise OutputError(
            f"This build of PyAV lacks the encoder {name}; install the wheel of av from PyPI."
        ) from error
    context.width, context.height = settings.width, settings.height
    context.pix_fmt = writer.form or settings.pix_fmt + "le"
    context.time_base, context.framerate = settings.time_base, settings.rate
    context.sample_aspect_ratio = settings.sample_aspect_ratio
    context.gop_size = settings.keyint
    context.color_range = 2 if settings.layout.full_range else 1
    context.color_primaries, context.color_trc, context.colorspace = settings.colour
    told = {"preset": settings.preset} if settings.preset else {}
    if settings.is_420:  # of other chroma H.265 E.3.1 lets nothing be said
        told["chroma_sample_location"] = "topleft"
    context.options = told | writer.told(settings)
    try:
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        if writer.hardware:
            why = getattr(error, "strerror", None) or error
            raise EncoderGone(f"{name} does not open here ({why})") from error
        if CODECS[settings.codec].intra:
            raise OutputError(
                f"{name} refuses a picture of {settings.width}x{settings.height} in {settings.pix_fmt}; choose another --codec."
            ) from error
        raise OutputError(
            f"{name} refuses preset {settings.preset!r} with crf {settings.crf:g} for a picture of"
            f" {settings.width}x{settings.height}; choose others with --preset and --crf."
        ) from error
    schedule_as_others()
    return context


def try_encoder(settings: EncodeSettings) -> None:
    """Raises what ``ChunkEncoder`` would raise for these settings, before any picture is at hand."""
    _open_encoder(settings)


def has_encoder(name: str) -> bool:
    """Whether this build of PyAV has an encoder, by FFmpeg's name for it."""
    return name in av.codec.codecs_available


def schedule_as_others() -> None:
    """Undo real-time scheduling: SVT-AV1 gives it to the calling thread and its own where it may, and starves the machine."""
    tasks = Path("/proc/self/task")
    for task in tasks.iterdir() if tasks.is_dir() else ():
        with contextlib.suppress(
            OSError
        ):  # a thread that has just ended, or one that may not be changed
            os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))


def cannot_write(path: Path, error: Exception) -> OutputError:
    """The message for a file that could not be written to its end: a full disk, a file size limit, a lost mount."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return OutputError(
        f"{path} cannot be written ({why}); free space there or choose another folder, and run again."
    )


class ChunkEncoder:
    """Writes one chunk file: ``encode`` frames in display order, then ``close``.

    The file appears under its name when it is whole; without ``close``, or after an error, nothing is left.
    """

    def __init__(self, path: Path, settings: EncodeSettings) -> None:
        self._path, self._settings = path, settings
        self._part = path.with_name(path.name + ".part")
        self._context = _open_encoder(settings)
        self._durations: dict[int, int] = {}
        self._hash = hashlib.sha256()
        self._frames = self._packets = self._bytes = self._first = self._last = 0
        self._parameters: tuple[bytes, ...] = ()
        try:
            self._part.unlink(missing_ok=True)
            self._file: BinaryIO = self._part.open(
                "xb"
            )  # a new file: nothing is written through a link or a pipe
        except OSError as error:
            raise cannot_write(self._part, error) from error
        private = b""
        if self._context is not None and settings.codec not in _TELLING_PACKETS:
            private = self._context.extradata or b""
        self._parameters = (private,) if private else ()
        header = json.dumps({"settings": settings.to_json(), "private": private.hex()}).encode()
        self._write(_MAGIC, struct.pack(">I", len(header)), header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._context = None
        if not self._file.closed:
            try:
                self._file.close()  # may try to flush to the full disk again
            except OSError as problem:
                if error is None:
                    raise cannot_write(self._part, problem) from problem
            finally:
                self._part.unlink(missing_ok=True)

    def _write(self, *parts: bytes) -> None:
        try:
            for part in parts:
                self._file.write(part)
                self._hash.update(part)
                self._bytes += len(part)
        except OSError as error:
            raise cannot_write(self._part, error) from error

    def _take(self, frame: av.VideoFrame | None) -> None:
        if self._context is None:
            raise ValueError("the chunk is closed")
        try:
            packets = self._context.encode(frame)
        except av.error.FFmpegError as error:
            writer = self._settings.writer
            if writer.hardware:
                raise EncoderGone(
                    f"{writer.name} failed in the middle ({error.strerror})"
                ) from error
            raise OutputError(
                f"{writer.name} failed while writing {self._path} ({error}); run again."
            ) from error
        for packet in packets:
            data, pts = bytes(packet), cast(int, packet.pts)
            if packet.is_keyframe and not self._parameters:
                self._parameters = stream_parameters(self._settings.codec, data)
            self._record(data, pts, key=packet.is_keyframe)

    def _record(self, data: bytes, pts: int, *, key: bool) -> None:
        self._write(_RECORD.pack(len(data), pts, self._durations.pop(pts, 0), key), data)
        self._packets += 1

    def encode(self, planes: tuple[Tensor, ...], pts: int, duration: int | None = None) -> None:
        """Adds a frame: uint16 planes on the CPU, as :func:`sdr2hdr.color.yuv.to_yuv` leaves them in the settings' layout.

        ``pts`` and ``duration`` count the settings' time base; pts must grow. Raises OutputError.
        """
        s = self._settings
        small = s.layout.small(s.height, s.width)
        shapes = [tuple(plane.shape) for plane in planes]
        if shapes != [(s.height, s.width), small, small]:
            raise ValueError(
                f"planes of {shapes} are not a {s.width}x{s.height} {s.pix_fmt} picture"
            )
        if self._frames and pts <= self._last:
            raise ValueError(f"pts {pts} does not follow {self._last}")
        self._first = self._first if self._frames else pts
        self._last = pts
        self._frames += 1
        self._durations[pts] = duration or 0
        if s.writer.picture is not None:
            self._record(s.writer.picture(planes, s), pts, key=True)
            return
        if s.layout.matrix == "rgb":
            planes = (planes[1], planes[2], planes[0])  # FFmpeg keeps G', B', R'
        frame = av.VideoFrame.from_dlpack(
            tuple(plane.contiguous() for plane in planes), format=s.pix_fmt + "le"
        )
        if s.writer.form:  # the same samples in another order
            frame = frame.reformat(format=s.writer.form)
        frame.pts, frame.time_base = pts, s.time_base
        # ProRes names the colours of each frame; every other encoder takes them from the context
        frame.color_primaries, frame.color_trc, frame.colorspace = s.colour
        self._take(frame)

    def close(self) -> ChunkFacts:
        """Finishes the encoder, gives the file its name and says what it holds. Raises OutputError."""
        if not self._frames:
            raise ValueError("a chunk needs at least one frame")
        if self._context is not None:
            self._take(None)
        self._context = None
        if self._packets != self._frames:
            lost = f"{self._settings.writer.name} lost pictures"
            if self._settings.writer.hardware:
                raise EncoderGone(lost)
            raise OutputError(f"{lost} of {self._path}; run again, or choose another --encoder.")
        self._write(_RECORD.pack(0, self._frames, 0, 0))
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
        except OSError as error:
            raise cannot_write(self._part, error) from error
        parameters = hashlib.sha256(b"".join(self._parameters)).hexdigest()
        return ChunkFacts(
            self._frames, self._first, self._last, self._bytes, self._hash.hexdigest(), parameters
        )


class ChunkReader:
    """A chunk file's settings, the codec's ``private`` data where packets do not hold it, and its packets in decode order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                magic, size = file.read(len(_MAGIC)), file.read(4)
                if magic != _MAGIC or len(size) != 4:
                    raise self._damaged()
                length = struct.unpack(">I", size)[0]
                header = json.loads(file.read(length))
                self.settings = EncodeSettings.from_json(header["settings"])
                self.private = bytes.fromhex(header["private"])
                self._start = file.tell()
        except OSError as error:
            raise OutputError(
                f"The chunk {path} cannot be read ({error.strerror}); run again to render it again."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged() from error

    def _damaged(self) -> OutputError:
        return OutputError(
            f"The chunk {self.path} is damaged or incomplete; delete it and run again to render it again."
        )

    def packets(self) -> Iterator[EncodedPacket]:
        """The packets in decode order. Raises OutputError where the file is cut short."""
        count = 0
        with self.path.open("rb") as file:
            file.seek(self._start)
            while True:
                record = file.read(_RECORD.size)
                if len(record) != _RECORD.size:
                    raise self._damaged()
                size, pts, duration, key = _RECORD.unpack(record)
                if size == 0:
                    if pts != count:
                        raise self._damaged()
                    return
                data = file.read(size)
                if len(data) != size:
                    raise self._damaged()
                count += 1
                yield EncodedPacket(data, pts, duration, bool(key))
