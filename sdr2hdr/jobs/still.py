"""Still pictures: one picture, rendered as a film is, as an HDR AVIF or an Ultra HDR JPEG."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

from sdr2hdr.codecs import PQ
from sdr2hdr.color.turn import UPRIGHT
from sdr2hdr.errors import InputError, Interrupted, UsageError
from sdr2hdr.jobs.chosen import Chosen
from sdr2hdr.jobs.finishing import check_unchanged
from sdr2hdr.jobs.output import STILLS, Output
from sdr2hdr.jobs.planning import make_plan
from sdr2hdr.jobs.progress import Progress, Watcher
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.jobs.report import Report, report_of
from sdr2hdr.jobs.run import Here, Rendered
from sdr2hdr.jobs.straight import frames_alone, idle, render_straight
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.inputs import as_film
from sdr2hdr.media.items import EXIF_LOST, XMP_LOST
from sdr2hdr.media.jpeg import SOI, Jpeg
from sdr2hdr.media.kept_headers import not_kept
from sdr2hdr.media.photo import Photo, read_photo
from sdr2hdr.media.sdr_base import gains_over, sdr_base
from sdr2hdr.media.source import Source
from sdr2hdr.media.still import LEAST_SIDE, QUALITY, avif, check_avif
from sdr2hdr.media.ultrahdr import check_ultra_hdr, ultra_hdr
from sdr2hdr.options import Options
from sdr2hdr.render.stream import Planes

_MOST = 89_000_000
"""Pixels of a picture, which is held in memory whole, some ten times over; Pillow warns of larger ones."""
Made = tuple[bytes, tuple[str, ...]]


@dataclass(frozen=True)
class _Picture:
    """A source with one picture: what its file says of it, and the JPEG in it, if it is one."""

    source: Source
    photo: Photo
    jpeg: Jpeg | None


@dataclass(frozen=True)
class _Kind:
    """A kind of still: its words in a report, the planes that it is made from, and what makes its file of them, with sentences
    about it. ``used``: the options about encoding that it follows."""

    codec: str
    encoder: str
    planes: str
    make: Callable[[_Picture, Planes, Rendered, Options], Made]
    used: tuple[str, ...] = ("overwrite",)


def _avif(picture: _Picture, planes: Planes, done: Rendered, options: Options) -> Made:
    light = ContentLight(*done.light.written(options.peak))
    mastering = Mastering("bt2020", float(options.peak))
    made = avif(
        planes,
        QUALITY if options.crf is None else options.crf,
        light,
        mastering,
        picture.photo.exif,
    )
    check_avif(made, planes[0].shape[1], planes[0].shape[0])
    return made, (XMP_LOST,) if picture.photo.has_xmp else ()


def _jpeg(picture: _Picture, planes: Planes, _done: Rendered, _options: Options) -> Made:
    """The source's own JPEG, or if it is none, one of its picture, with a gain map."""
    source = picture.source
    xmp: tuple[str, ...] = ()
    if picture.jpeg is not None:
        base, turn = picture.jpeg, source.info.turn.inverse
        words = "The SDR picture in it is the source's own JPEG, sample for sample."
    else:
        base, turn = sdr_base(next(source.pictures()), picture.photo.exif, source.path), UPRIGHT
        words = "The SDR picture in it is a JPEG of quality 95 in sRGB."
        xmp = (XMP_LOST,) if picture.photo.has_xmp else ()
    width, height = source.info.size
    gains = gains_over(base, planes, (height, width), turn)
    made, lost = ultra_hdr(base, gains)
    check_ultra_hdr(made, base)
    gain = f"The gain map goes from {gains.low:.2f} to {gains.high:.2f} stops, for displays with {gains.headroom:.2f} stops"
    return made, (words, f"{gain} above SDR white.", *lost, *xmp)


_JPEG = _Kind("jpeg", "libjpeg", "gbrp16", _jpeg)
_AVIF = _Kind("av1", "libsvtav1", "yuv420p10", _avif, ("overwrite", "crf"))
_KINDS = dict(zip(STILLS, (_AVIF, _JPEG, _JPEG), strict=True))


def convert_still(src: Path, dst: Path, options: Options, progress: Watcher) -> Report:
    """Convert one SDR picture to HDR: an AVIF (10 bits, PQ), or a JPEG with a gain map, as the ending of ``dst`` says.

    The file appears whole and checked, or not at all. Raises UsageError, InputError, OutputError, ModelError or Interrupted.
    """
    since = time.monotonic()
    kind = _KINDS[dst.suffix.lower()]
    _check(options)
    output = Output.of_still(src, dst, options)
    o = frames_alone(options).changed(
        codec="ffv1", pix_fmt=kind.planes
    )  # whose encoder is not used
    with (
        tempfile.TemporaryDirectory(prefix="sdr2hdr-") as folder,
        as_film(src, Path(folder), o.fps) as film,
    ):
        source = open_source(film.path, o)
        picture = _one_picture(source, dst)
        try:
            chosen = Chosen.of(source, o, None, progress)
            here = Here(source, cache(chosen.open))
            plan, notes = make_plan(source, chosen, None, here.model, progress, still=True)
            if kind is _JPEG:  # which has pictures of odd sizes
                width, height = source.info.size
                plan = replace(plan, encode=replace(plan.encode, width=width, height=height))
            frames: list[Planes] = []
            done = render_straight(here, plan, frames.append, progress)
            progress(Progress("assemble", 0, 1))
            made, about = kind.make(picture, frames[0], done, options)
        except KeyboardInterrupt:
            raise Interrupted("Stopped; nothing was written.") from None
        check_unchanged(source, plan)
        output.put(made)
    notes = (
        *film.notes, *notes, *plan.survey.notes, *about, *not_kept(source.info.headers, "mkv"), *_left(picture),
        *idle(options, "a still picture", *kind.used),
    )  # fmt: skip
    kept = EXIF_LOST if picture.photo.exif else None  # Pillow reads that of AVIF
    notes = tuple(note for note in dict.fromkeys(notes) if note != kept)
    report = report_of(
        src, source, dst, chosen, done, notes,
        codec=kind.codec, encoder=kind.encoder, container=output.container, seconds=time.monotonic() - since,
    )  # fmt: skip
    return replace(report, pix_fmt="yuvj444p", transfer="gain map") if kind is _JPEG else report


def _left(picture: _Picture) -> tuple[str, ...]:
    """Sentences on what else a file holds, which is not converted."""
    notes = []
    if (pages := picture.photo.pages) > 1:
        notes.append(f"Only the first of {pages} pictures in the source was converted.")
    items = picture.source.info.items
    if items is not None and items.pictures > 1:
        notes.append(f"Only the main one of {items.pictures} pictures in the source was converted.")
    if items is not None and items.helpers:
        notes.append(
            "What belongs to the picture in the source, such as a depth or gain map, was left out."
        )
    behind = b"" if picture.jpeg is None else picture.jpeg.followed.strip(b"\0")
    if behind:
        kilobytes = max(1, len(behind) // 1000)
        notes.append(
            f"What follows the picture in the source was left out ({kilobytes} kB: another picture, or a video)."
        )
    return tuple(notes)


def _check(options: Options) -> None:
    """Raise UsageError for options that a still picture cannot follow."""
    refused = {
        "--transfer": options.transfer != PQ,
        "--pix-fmt": options.pix_fmt not in (None, "yuv420p10"),
        "--hdr10plus": options.hdr10plus,
        "--dolby-vision": options.dolby_vision,
        "--aux-sdr": options.aux_sdr is not None,
        "--cluster": options.cluster is not None,
    }
    for flag, given in refused.items():
        if given:
            raise UsageError(f"{flag} is for films; leave it out for a still picture.")


def _one_picture(source: Source, dst: Path) -> _Picture:
    """A source with one picture. Raises InputError for any other, and for what cannot be made a still."""
    width, height = source.info.size
    if width * height > _MOST:
        raise InputError(
            f"{source.path} has {width * height / 1e6:.0f} megapixels, and stills of up to {_MOST / 1e6:.0f} are converted;"
            " scale it first."
        )
    if dst.suffix.lower() == ".avif" and min(width, height) + 1 < LEAST_SIDE:
        raise InputError(
            f"{source.path} is {width}x{height}, and an AVIF has at least {LEAST_SIDE} pixels a side; end the output in .jpg."
        )
    photo = read_photo(source.path)
    if photo.moves or len(list(islice(source.pictures(), 2))) > 1:
        what = "an animation" if photo.moves else "a film"
        raise InputError(
            f"{source.path} is {what}, and {dst} would hold one picture; end the output in .mkv, .mp4 or .mov, or take single"
            " frames with sdr2hdr preview --hdr."
        )
    jpeg = None
    if source.info.is_still and (data := source.path.read_bytes()).startswith(SOI):
        jpeg = Jpeg.of(data, source.path)
    return _Picture(source, photo, jpeg)
