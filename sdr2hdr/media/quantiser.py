"""How strongly the pictures of a film were compressed, as the headers of their packets say.

QPs are those of H.264 and HEVC, where 6 more double the step of the quantiser, 4 is a step of one code of 255, and 51 the most.
Steps of other codecs are brought to that scale. Headers state what the encoder began a picture with. What it then changed from
block to block, a few QPs up and down, is in the pictures themselves; of HEVC a mean of it is assumed. A film that was coded
without loss says nothing: it may have been compressed before.

FFmpeg reads the headers (its filter ``trace_headers``, which writes what it reads into its log).
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import log2
from statistics import fmean
from threading import Lock

import av
import av.logging
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.stream import VideoStream

_EVERY = 5
"""One packet in this many is read: patterns of pictures repeat every 2, 3, 4, 8 or 16."""
_FILTER = "trace_headers"
_BELOW = 4
"""How far the blocks of HEVC are taken to be below their header where the QP changes within pictures. In real films those of x265
are 1 to 4 below it on average, in noise above; networks that were told 4 to 6 less repaired most (``lab/which-model.md``)."""
_LEFT_OUT = {"h264": "6", "hevc": "39-40", "av1": "5", "mpeg2video": "178"}
"""Units that hold data for others (SEI, metadata, user data), by codec. They would fill the log with a line for each byte."""
_MOST = 1 << 16  # bytes of a stream's parameters; more are no parameters
_LOG = Lock()  # FFmpeg has one log

_AV1_INDEX = (0, 1, 95, 137, 160, 202, 225, 255)
_AV1_STEP = (4, 8, 102, 203, 305, 663, 1026, 1828)
"""Points of the AC quantisers of AV1 and VP9 for 8 bits, in eighths of a code (AV1 specification, 7.12.2, Ac_Qlookup)."""
_MPEG2_STEPS = (*range(9), *range(10, 25, 2), *range(28, 57, 4), *range(64, 113, 8))
"""Steps of MPEG-2's ``quantiser_scale_code`` with ``q_scale_type`` 1 (ISO/IEC 13818-2, table 7-6)."""


class Quantisers:
    """The QPs of a film's packets by their pts (by their dts where they have none), in :attr:`qps`: of every fifth, and none of a
    codec whose headers do not say it, or that were coded without loss. With ``given`` they all are that.
    """

    def __init__(self, given: float | None = None) -> None:
        self._given = given
        self.qps: dict[int, float] = {}

    def watched(
        self, packets: "Iterable[Packet[VideoStream] | None]", stream: VideoStream
    ) -> "Iterator[Packet[VideoStream] | None]":
        """The packets on their way to the decoder of a stream; None stands where one could not be read."""
        headers = _Headers(stream) if self._given is None else None
        for number, packet in enumerate(packets):
            if packet is not None:
                at = packet.dts if packet.pts is None else packet.pts
                wanted = number % _EVERY == 0
                # a keyframe brings the parameters that later packets refer to
                qp = self._given
                if headers is not None and (wanted or packet.is_keyframe):
                    qp = headers.qp(packet)
                if wanted and at is not None and qp is not None and qp > 0:
                    self.qps[at] = qp
            yield packet


class _Headers:
    """The headers of a stream, whose packets are seen in order."""

    def __init__(self, stream: VideoStream) -> None:
        self._begin: dict[int, int] = {}  # by parameter set, the QP that differences are from
        self._below: dict[int, int] = {}  # and how far blocks are below it
        self._set = self._mpeg2_type = 0
        self._found: list[float] = []
        self._filter: BitStreamFilterContext | None = None
        left_out = _LEFT_OUT.get(stream.codec_context.codec.canonical_name)
        filters = _FILTER if left_out is None else f"filter_units=remove_types={left_out},{_FILTER}"
        if len(stream.codec_context.extradata or b"") > _MOST:
            return
        with (
            _LOG,
            _logged() as lines,
            suppress(av.FFmpegError, ValueError),
        ):  # not one of its codecs
            self._filter = BitStreamFilterContext(filters, stream)
        self._read(lines)

    def qp(self, packet: "Packet[VideoStream]") -> float | None:
        """The mean over the slices of a packet; None if they do not say it."""
        if self._filter is None:
            return None
        copy = Packet(bytes(packet))  # a filter keeps what it is given
        with _LOG, _logged() as lines:
            try:
                self._filter.filter(copy)
            except (av.FFmpegError, ValueError):
                lines.clear()  # damaged; the decoder says so
        self._found = []
        self._read(lines)
        return fmean(self._found) if self._found else None

    def _read(self, lines: list[tuple[int, str, str]]) -> None:
        for _, source, line in lines:
            if source == _FILTER and "=" in line:
                words = line.split()  # position, name, bits, =, value
                if words[-1].lstrip("-").isdigit() and words[-2] == "=":
                    self._value(words[1], int(words[-1]))

    def _value(self, name: str, value: int) -> None:
        match name:
            case (
                "pic_parameter_set_id"
                | "pps_pic_parameter_set_id"
                | "slice_pic_parameter_set_id"
                | "ph_pic_parameter_set_id"
            ):
                self._set = value
            case "pic_init_qp_minus26" | "init_qp_minus26" | "pps_init_qp_minus26":
                self._begin[self._set] = 26 + value
            case "cu_qp_delta_enabled_flag":
                self._below[self._set] = _BELOW * value
            case "slice_qp_delta" | "ph_qp_delta" | "sh_qp_delta" if self._set in self._begin:
                begin = self._begin[self._set] - self._below.get(self._set, 0)
                self._found.append(float(begin + value))
            case "base_q_idx":
                step = np.exp2(np.interp(value, _AV1_INDEX, np.log2(_AV1_STEP))) / 8
                self._found.append(_qp(float(step)) if value else 0.0)  # 0 is without loss
            case "q_scale_type":
                self._mpeg2_type = value
            case "quantiser_scale_code" if 0 < value < len(_MPEG2_STEPS):
                step = _MPEG2_STEPS[value] if self._mpeg2_type else 2 * value
                self._found.append(_qp(step))


def _qp(step: float) -> float:
    return 4 + 6 * log2(step)


class _logged:
    """What FFmpeg logs in a ``with`` block, from all threads; elsewhere nothing is logged."""

    def __enter__(self) -> list[tuple[int, str, str]]:
        self._before = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        self._capture = av.logging.Capture(local=False)
        return self._capture.__enter__()

    def __exit__(self, *error: object) -> None:
        self._capture.__exit__(None, None, None)
        av.logging.set_level(self._before)
