"""The facts that a file states, and the assumptions if it states none.

Sources: ITU-T H.273 tables 2 to 4 (the numbers of primaries, transfers, matrices), RFC 9559 5.1.4.1.28 (Matroska's Colour).
"""

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sdr2hdr.color.luma import MATRICES
from sdr2hdr.color.turn import Turn
from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.errors import InputError
from sdr2hdr.media.boxes import mp4_hdr
from sdr2hdr.media.clock import Clock, read_clock
from sdr2hdr.media.ebml import children, number
from sdr2hdr.media.headers import Headers, read_headers, video_elements, view_shape
from sdr2hdr.media.icc import read_profile
from sdr2hdr.media.items import Items, read_items
from sdr2hdr.media.matroska import COLOUR, SITING_H, SITING_V, matroska_display
from sdr2hdr.media.opening import first_frame, is_cover, is_still_format, opened
from sdr2hdr.media.photo import MISTAKEN, Photo, check_picture, read_photo
from sdr2hdr.media.picture import planar, side_data, turn_of
from sdr2hdr.media.shown import UNNAMED, Shown, names_of, primaries_of, shown, transfer_of

UNTAGGED = 2  # "unspecified" in all three tables of H.273
MATRIX_NAMES = {
    0: "rgb",
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    9: "bt2020nc",
}
DOLBY_VISION_TAGS = {"dvh1", "dvhe", "dva1", "dvav", "dav1"}
FIELD_ORDERS = {
    1: "progressive",
    2: "top first",
    3: "bottom first",
    4: "top coded first",
    5: "bottom coded first",
}


_BARE = {"h264", "hevc", "vvc", "mpegvideo", "m4v", "dv", "obu"}
"""Formats that are a bitstream and nothing else."""


@dataclass(frozen=True)
class SourceInfo:
    """Facts of a source. Sizes are in pixels, times in ``time_base``.

    ``coded_size`` is width and height as stored; ``size`` and ``sample_aspect_ratio`` are of the
    upright picture, ``turn`` leads from one to the other. ``matrix_from`` and ``range_from`` say
    how the layout was decided: ``tagged``, ``untagged rule`` or ``given``. ``primaries`` and
    ``transfer`` are the tags of the first picture, ``untagged`` if it has none; ``container_display``
    is the transfer and the primaries that the container names; ``shown`` is the display that the
    picture is taken to be made for. ``frames`` and ``duration`` are
    the container's word, or an estimate; None if there is neither. ``hdr`` is ``PQ``, ``HLG`` or
    ``Dolby Vision`` where it is one of these. ``clock`` is what was moved, and by how much, so that
    ``start_pts`` and all times of pictures are as they are. ``has_companions``: it is a photo behind which other pictures
    lie, such as a gain map, which are not read. ``items`` are those of a HEIC or AVIF still picture, None in other files.
    """

    path: Path
    container: str
    stream: int
    codec: str
    pix_fmt: str
    coded_size: tuple[int, int]
    size: tuple[int, int]
    sample_aspect_ratio: Fraction
    turn: Turn
    time_base: Fraction
    rate: Fraction
    start_pts: int
    duration: int | None
    frames: int | None
    field_order: str
    interlaced: bool
    layout: YuvLayout
    matrix_from: str
    range_from: str
    primaries: str
    transfer: str
    container_display: tuple[str, str]
    shown: Shown
    hdr: str | None
    video_streams: int
    audio: tuple[str, ...]
    subtitles: tuple[str, ...]
    attachments: tuple[str, ...]
    chapters: int
    clock: Clock
    headers: Headers
    has_companions: bool = False
    items: Items | None = None

    @property
    def is_still(self) -> bool:
        """Whether it is a file of one picture, such as JPEG and PNG."""
        return is_still_format(self.container)

    @property
    def says_aspect_again(self) -> bool:
        """Whether the headers of the pictures say the aspect, as often as they come; elsewhere the container does, once."""
        return self.is_broadcast or self.container in _BARE

    @property
    def is_broadcast(self) -> bool:
        """Whether it is an MPEG transport or program stream, whose headers repeat and may
        change.
        """
        return self.container in {"mpegts", "mpeg"}


def _aspect(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """The sample aspect ratio of the picture that was just decoded: of a bare bitstream, what its decoder says."""
    said = stream.codec_context.sample_aspect_ratio if container.format.name in _BARE else None
    return said or stream.sample_aspect_ratio


def read_info(
    path: Path,
    matrix: str | None = None,
    range_: str | None = None,
    *,
    transfer: str = "auto",
    primaries: str = "auto",
    keep_start: bool = False,
) -> SourceInfo:
    """Open a file, decode its first picture and say what it is, HDR or not.

    ``matrix`` and ``range_`` overrule the tags, and so do ``transfer`` and ``primaries`` if they are not
    ``auto``; ``keep_start`` is that of :func:`read_clock`.
    Raises :class:`InputError` for anything that is not a video that decodes.
    """
    with opened(path) as (container, stream):
        items = read_items(path) if container.format.name.startswith("mov") else None
        if items is not None:
            items.check(path, stream.id)
        tagged = stream.codec_context.color_trc
        frame = first_frame(container, stream, path)
        aspect = Fraction(_aspect(container, stream) or 1)  # reading on may change it
        hdr = hdr_of(frame, tagged, stream.codec_context.codec_tag)
        if frame.format.name.startswith("xyz"):
            raise InputError(
                f"{path} holds the XYZ pictures of digital cinema; convert it to BT.709 first."
            )
        codec = stream.codec_context.codec.canonical_name
        if codec in MISTAKEN:
            check_picture(path)
        siting = _siting(path, container, stream)
        layout, matrix_from, range_from = layout_of(frame, codec, siting, path, matrix, range_)
        photo = read_photo(path) if is_still_format(container.format.name) else None
        turn = turn_of(frame) if photo is None else photo.turn
        if items is not None and items.icc:
            photo = Photo(profile=read_profile(items.icc), profile_first=True)
        time_base = stream.time_base or Fraction(1, 1000)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        clock = read_clock(container, stream, path, keep_start=keep_start)
        duration = _stated_duration(container, stream, time_base)
        if len(clock.parts) > 1:
            duration = round(clock.seconds / time_base)
        headers = read_headers(path, container, stream, frame)
        if items is not None and items.has_alpha:
            headers = replace(headers, alpha=True)
        start = (stream.start_time or 0) if frame.pts is None else frame.pts
        if turn != Turn():  # all of it is shown then, where FFmpeg speaks of one view
            aspect *= view_shape(headers.video)
        width, height = frame.width, frame.height
        streams = container.streams
        return SourceInfo(
            path=path,
            container=container.format.name,
            stream=stream.index,
            codec=codec,
            pix_fmt=frame.format.name,
            coded_size=(width, height),
            size=(height, width) if turn.transpose else (width, height),
            sample_aspect_ratio=1 / aspect if turn.transpose else aspect,
            turn=turn,
            time_base=time_base,
            rate=rate,
            start_pts=start + round(clock.moved / time_base),
            duration=duration,
            frames=stream.frames or (round(duration * time_base * rate) if duration else None),
            field_order=FIELD_ORDERS.get(stream.codec_context.field_order, "not said"),
            interlaced=frame.interlaced_frame or stream.codec_context.field_order > 1,
            layout=layout,
            matrix_from=matrix_from,
            range_from=range_from,
            primaries=primaries_of(frame),
            transfer=transfer_of(frame),
            container_display=_container_display(path, container, stream),
            shown=shown(frame, transfer, primaries, photo),
            hdr=hdr,
            video_streams=sum(1 for s in streams.video if not is_cover(s)),
            audio=tuple(_codec(s) for s in streams.audio),
            subtitles=tuple(_codec(s) for s in streams.subtitles),
            attachments=tuple(s.name or "unnamed" for s in streams.attachments),
            chapters=max(len(container.chapters()), len(headers.chapters.listed)),
            clock=clock,
            headers=replace(headers, turned=turn != Turn()),
            has_companions=photo is not None and photo.has_companions,
            items=items,
        )


_FOR_PICTURES = ("mjpeg", "jpegls", "jpeg2000", "png", "tiff", "bmp", "pgm", "sgi", "targa", "dpx")
"""Codecs of single pictures, in which grey has no limited range (JFIF 1.02, TIFF 6.0); FFmpeg does not say so."""


def hdr_of(frame: VideoFrame, tagged_transfer: int, codec_tag: str) -> str | None:
    """Which HDR a first frame is, by its own tags, by the container's transfer number, or by Dolby
    Vision's side data.
    """
    kinds = side_data(frame).keys()
    if codec_tag in DOLBY_VISION_TAGS or kinds & {"DOVI_RPU_BUFFER", "DOVI_METADATA"}:
        return "Dolby Vision"
    transfers = {frame.color_trc, tagged_transfer}
    if 18 in transfers:
        return "HLG"
    mastered = "MASTERING_DISPLAY_METADATA" in kinds and frame.color_trc == UNTAGGED
    return "PQ" if 16 in transfers or mastered else None


def layout_of(
    frame: VideoFrame, codec: str, siting: str, path: Path, matrix: str | None, range_: str | None
) -> tuple[YuvLayout, str, str]:
    """The layout of the planes of a frame that ``codec`` coded, and how its matrix and its range were decided.

    Untagged files have no standard answer. The rule here: BT.709 from 720 lines up and BT.601
    below; limited range, but full range of grey pictures in formats for pictures. Raises :class:`InputError` for a matrix that
    is not known.
    """
    form = planar(frame).format
    colours = [c for c in form.components if not c.is_alpha]
    depth, grey = colours[0].bits, len(colours) == 1
    if form.is_rgb:
        # RGB is full range unless it says otherwise; a matrix cannot be asked of it
        full = frame.color_range != 1 if range_ is None else range_ == "full"
        how = "given" if range_ else "tagged" if frame.color_range else "untagged rule"
        return YuvLayout("rgb", full, depth, (0, 0)), "tagged", how
    if matrix is not None:
        name, matrix_from = matrix, "given"
    elif frame.colorspace == UNTAGGED or grey:
        name, matrix_from = "bt709" if frame.height >= 720 else "bt601", "untagged rule"
    else:
        name, matrix_from = MATRIX_NAMES.get(frame.colorspace, ""), "tagged"
    if name not in MATRICES:
        raise InputError(
            f"{path} uses colour matrix number {frame.colorspace}, which is not known here; "
            f"name the nearest with --input-matrix ({', '.join(MATRICES)})."
        )
    if range_ is not None:
        full, range_from = range_ == "full", "given"
    elif frame.color_range in {1, 2}:
        full, range_from = frame.color_range == 2, "tagged"
    else:
        full = form.name.startswith("yuvj") or (grey and codec in _FOR_PICTURES)
        range_from = "untagged rule"
    sub = (form.chroma_width(16), form.chroma_height(16))
    log2 = (4 - (sub[0].bit_length() - 1), 4 - (sub[1].bit_length() - 1))
    return YuvLayout(name, full, depth, log2, siting, grey), matrix_from, range_from


def _container_display(
    path: Path, container: InputContainer, stream: VideoStream
) -> tuple[str, str]:
    """The names of the transfer and the primaries in the header of an MP4, a MOV or a Matroska file, for its first video.

    FFmpeg shows them only as long as the pictures say nothing else.
    """
    if stream.index != container.streams.video[0].index:
        return UNNAMED
    kind = container.format.name
    try:
        if kind.startswith("matroska"):
            return names_of(*matroska_display(path))
        if kind.startswith("mov") and (colour := mp4_hdr(path).colour) is not None:
            return names_of(*colour[:2])
    except (EOFError, OSError, struct.error, ValueError):
        pass  # damaged headers say nothing
    return UNNAMED


def _siting(path: Path, container: InputContainer, stream: VideoStream) -> str:
    if is_still_format(container.format.name):
        return "center"  # JFIF 1.02, and WebP as its decoder draws it
    if (
        container.format.name == "yuv4mpegpipe"
    ):  # its header names the colour space in a word, which FFmpeg does not hand on
        with path.open("rb") as file:
            words = file.readline(1024).split()
        colours = next(
            (word[1:].decode("ascii", "replace") for word in words if word[:1] == b"C"), "420"
        )
        return {"420": "center", "420jpeg": "center", "420paldv": "topleft"}.get(colours, "left")
    return siting_of(stream)


def siting_of(stream: VideoStream) -> str:
    """Where the stream's chroma sits; left, the default of H.264 and HEVC, if it is untagged.

    PyAV does not show it; Matroska's ChromaSitingHorz and ChromaSitingVert do (RFC 9559
    5.1.4.1.28.23 and .24): 1 is on the first luma sample, 2 half way to the next.
    """
    colour = children(video_elements(stream).get(COLOUR, b""))
    places = number(colour.get(SITING_H, b"")), number(colour.get(SITING_V, b""))
    return {(2, 2): "center", (1, 1): "topleft", (2, 1): "top"}.get(places, "left")


def _stated_duration(
    container: InputContainer, stream: VideoStream, time_base: Fraction
) -> int | None:
    """How long the video lasts by the container's word, in ``time_base``; None where it does not
    say.
    """
    if stream.duration:
        return stream.duration
    start = (stream.start_time or 0) * time_base
    end: Fraction | None = None
    clock = stream.metadata.get("DURATION", "").split(
        ":"
    )  # Matroska: HH:MM:SS.nnnnnnnnn, by most writers from time 0 on
    if len(clock) == 3:
        try:
            end = int(clock[0]) * 3600 + int(clock[1]) * 60 + Fraction(clock[2])
        except ValueError:
            return None
    elif (
        container.duration and not container.streams.audio
    ):  # the longest stream's, which must be this one
        end = Fraction(container.duration, av.time_base)
    return None if end is None else round((end - start) / time_base)


def _codec(stream: Stream) -> str:
    return (
        stream.codec_context.codec.canonical_name if stream.codec_context is not None else "unknown"
    )
