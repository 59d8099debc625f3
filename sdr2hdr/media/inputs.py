"""Inputs other than a video file: a pipe, numbered pictures, a folder of pictures.

What is read is put into one file beside the output, which is removed again. Its time of change says nothing of when it was
made, so that the same command goes on where it stopped.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.photo import MISTAKEN, check_picture

PIPE = "-"
PICTURES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".bmp",
    ".dpx",
    ".exr",
    ".webp",
    ".ppm",
    ".pgm",
    ".tga",
}
_NUMBER = re.compile(r"%(?:0(\d+))?d")
_PIECE = 1 << 20
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Film:
    """A file to read, and sentences for people on how it was made, if it was."""

    path: Path
    notes: tuple[str, ...] = ()


@contextmanager
def as_film(source: Path, folder: Path, fps: str | None) -> Iterator[Film]:
    """The file to read for an input: ``-`` is standard input, ``%05d`` in a name stands for
    numbers, a folder for its pictures.

    Files are made in ``folder`` and removed at the end. ``fps`` is the rate of pictures, ``25`` or
    ``24000/1001``. Raises InputError where the input cannot be read, OutputError where the folder
    cannot be written.
    """
    pictures = _pictures(source)
    if pictures and fps is None:
        raise InputError(f"{source} are pictures without times; say how many a second with --fps.")
    if fps is not None and not pictures:
        raise InputError(
            f"{source} has times of its own; leave --fps out, which is for numbered pictures."
        )
    if not pictures and str(source) != PIPE:
        yield Film(source)
        return
    with _spool(folder) as file:
        if pictures:
            _put_pictures(pictures, file, rate_of(fps or ""))
            note = f"{len(pictures)} pictures at {fps} a second"
            newest = max(picture.stat().st_mtime_ns for picture in pictures)
        else:
            size = _put_pipe(sys.stdin.buffer, file)
            note = f"standard input: {size / _MEGABYTE:.1f} MB, kept on disk during the conversion"
            newest = 0
        os.utime(file, ns=(newest, newest))
        yield Film(file, (note,))


def rate_of(fps: str) -> Fraction:
    """Pictures a second. Raises InputError for what is none."""
    try:
        rate = Fraction(fps)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise InputError(
            f"{fps!r} is not a number of pictures a second; give --fps 25 or 24000/1001, say."
        )
    return rate


@contextmanager
def _spool(folder: Path) -> Iterator[Path]:
    try:
        number, name = tempfile.mkstemp(prefix=".sdr2hdr-input-", dir=folder)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror}); choose another folder."
        ) from error
    os.close(number)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _put_pipe(pipe: IO[bytes], file: Path) -> int:
    """Copies a pipe to its end; returns how many bytes."""
    size = 0
    try:
        with file.open("wb") as out:
            while piece := pipe.read(_PIECE):
                size += out.write(piece)
    except OSError as error:
        raise OutputError(
            f"Standard input cannot be kept in {file.parent} ({error.strerror}) after {size / _MEGABYTE:.1f} MB; "
            "free some space, or convert a file."
        ) from error
    if not size:
        raise InputError("Standard input is empty; pipe a video into it, or name a file.")
    return size


def _pictures(source: Path) -> list[Path]:
    """The pictures that a name with a number in it, or a folder, stands for; none for other inputs.

    Raises InputError where a number is missing between others.
    """
    if source.is_dir():
        found = [
            path
            for path in source.iterdir()
            # names that begin with a point are hidden; macOS writes such files beside others
            if path.suffix.lower() in PICTURES and path.is_file() and path.name[0] != "."
        ]
        return sorted(found, key=lambda path: (_parts(path.stem), path.name))
    pattern = _NUMBER.search(source.name)
    if pattern is None or source.exists() or not source.parent.is_dir():
        return []
    before, after = source.name[: pattern.start()], source.name[pattern.end() :]
    digits = pattern[1] and int(pattern[1])
    name = re.compile(f"{re.escape(before)}(\\d{{{digits or 1},}}){re.escape(after)}")
    numbers = {
        int(match[1]): path
        for path in source.parent.iterdir()
        if (match := name.fullmatch(path.name))
    }
    if not numbers:
        raise InputError(f"{source} names no picture that is there; check the name.")
    missing = next((n for n in range(min(numbers), max(numbers)) if n not in numbers), None)
    if missing is not None:
        raise InputError(
            f"{source} lacks number {missing}; add the picture, or convert the parts before and after it."
        )
    return [numbers[n] for n in sorted(numbers)]


def _parts(stem: str) -> list[tuple[int, int | str]]:
    """A name as people sort it: numbers by value."""
    return [
        (0, int(part)) if part.isdigit() else (1, part) for part in re.findall(r"\d+|\D+", stem)
    ]


def _put_pictures(pictures: list[Path], file: Path, rate: Fraction) -> None:
    """Writes the pictures as a film in NUT, as they are where it holds their codec, else uncompressed."""
    with av.open(str(file), "w", format="nut", container_options={"fflags": "+bitexact"}) as out:
        film: VideoStream | None = None
        kind: tuple[object, ...] = ()
        is_copied = True
        for place, picture in enumerate(pictures):
            try:
                with av.open(str(picture.absolute())) as source:
                    stream = source.streams.video[0]
                    packet = next(packet for packet in source.demux(stream) if packet.size)
                    frame = (
                        stream.codec_context.decode(packet) + stream.codec_context.decode(None)
                    )[0]
                    is_now = (
                        stream.codec_context.codec.canonical_name,
                        frame.width,
                        frame.height,
                        frame.format.name,
                    )
                    if is_now[0] in MISTAKEN:
                        check_picture(picture)
                    if film is None:
                        kind = is_now
                        film, is_copied = _film_of(out, stream, frame, rate)
            except (av.FFmpegError, OSError, IndexError, StopIteration) as error:
                raise InputError(
                    f"{picture} is not a picture that can be read; replace it."
                ) from error
            if is_now != kind:
                before, now = ("{} {}x{} {}".format(*each) for each in (kind, is_now))
                raise InputError(
                    f"{picture} is {now}, the pictures before it {before}; make them alike."
                )
            if is_copied:
                made = Packet(bytes(packet))
                made.pts = made.dts = place
                made.duration, made.time_base, made.is_keyframe, made.stream = (
                    1,
                    1 / rate,
                    True,
                    film,
                )
                out.mux(made)
            else:
                frame.pts, frame.time_base = place, 1 / rate
                out.mux(film.encode(frame))


def _film_of(
    out: OutputContainer, stream: VideoStream, frame: VideoFrame, rate: Fraction
) -> tuple[VideoStream, bool]:
    """The stream to write, and whether packets go into it as they are."""
    try:
        film = out.add_stream_from_template(stream, opaque=True)
    except ValueError:  # a codec that NUT has no name for
        raw = out.add_stream("rawvideo", rate=rate)
        raw.width, raw.height, raw.pix_fmt, raw.time_base = (
            frame.width,
            frame.height,
            frame.format.name,
            1 / rate,
        )
        return raw, False
    film.time_base = 1 / rate
    return film, True
