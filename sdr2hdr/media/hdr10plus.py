"""HDR10+: its message in HEVC and AV1, and its form as JSON.

Sources: SMPTE ST 2094-40 (application 4), CTA-861-I annex S (the bits of the message), the AV1 specification of HDR10+
(2.2.2), and the JSON that hdr10plus_tool reads and writes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sdr2hdr import __version__
from sdr2hdr.color.guided import GuidedCurve
from sdr2hdr.color.light import LightFacts

TARGET = 400
"""Nits of the display that the curve is made for."""
PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)

_HEAD = b"\xb5\x00\x3c\x00\x01\x04"
"""Country, provider, the provider's code and application 4: how a T.35 message of HDR10+ begins."""
_WINDOW_BITS = 153  # of a window other than the whole picture
_MOST_LIGHT = 100_000  # tenths of a nit


class _Writer:
    def __init__(self) -> None:
        self._value = self._count = 0

    def put(self, value: int, bits: int) -> None:
        self._value = self._value << bits | value
        self._count += bits

    def bytes(self) -> bytes:
        spare = -self._count % 8
        return (self._value << spare).to_bytes((self._count + spare) // 8, "big")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def get(self, bits: int) -> int:
        self._left -= bits
        if self._left < 0:
            raise ValueError("the message ends too early")
        return self._value >> self._left & (1 << bits) - 1


@dataclass(frozen=True, slots=True)
class Hdr10Plus:
    """What HDR10+ says of a picture, in its own whole steps.

    ``target``: nits of the display of the curve. ``maxscl``, ``average`` and the second number of each of ``percentiles``:
    tenths of a nit; ``bright``: the thousandths of all pixels that are as bright as the brightest. ``knee`` and ``anchors``
    as :class:`~sdr2hdr.color.guided.GuidedCurve` has them, None without a curve. ``version``: of the application.
    """

    target: int
    maxscl: tuple[int, int, int]
    average: int
    percentiles: tuple[tuple[int, int], ...]
    bright: int
    curve: GuidedCurve | None
    version: int = 1
    windows: int = 1

    @classmethod
    def of(cls, light: LightFacts) -> Self:
        """What to write about pictures with this light, whose channels were measured."""
        r, g, b = map(_tenths, light.channels)
        return cls(
            target=TARGET,
            maxscl=(r, g, b),
            average=_tenths(light.mean),
            percentiles=tuple((p, _tenths(light.passed_by(1 - p / 100))) for p in PERCENTS),
            bright=round(1000 * light.brightest_share),
            curve=GuidedCurve.of(max(r, g, b) / 10, TARGET),
        )

    @property
    def profile(self) -> str:
        """A without a curve, B with one for a display that is named, else N/A."""
        if self.curve is None:
            return "A"
        return "B" if self.target else "N/A"

    def message(self) -> bytes:
        """The ITU-T T.35 message, its country code first."""
        out = _Writer()
        for value, bits in ((self.version, 8), (1, 2), (self.target, 27), (0, 1)):
            out.put(value, bits)
        for value in (*self.maxscl, self.average):
            out.put(value, 17)
        out.put(len(self.percentiles), 4)
        for percent, value in self.percentiles:
            out.put(percent, 7)
            out.put(value, 17)
        out.put(self.bright, 10)
        out.put(0, 1)  # mastering_display_actual_peak_luminance_flag
        out.put(self.curve is not None, 1)
        if self.curve is not None:
            out.put(self.curve.knee[0], 12)
            out.put(self.curve.knee[1], 12)
            out.put(len(self.curve.anchors), 4)
            for anchor in self.curve.anchors:
                out.put(anchor, 10)
        out.put(0, 1)  # color_saturation_mapping_flag
        return _HEAD + out.bytes()

    @classmethod
    def read(cls, message: bytes) -> Self:
        """What a message says of the whole picture. Raises ValueError for one that is damaged or not of HDR10+."""
        if not is_hdr10plus(message):
            raise ValueError("the message is not of HDR10+")
        data = _Reader(message[len(_HEAD) :])
        version, windows = data.get(8), data.get(2)
        for _ in range(windows - 1):
            data.get(_WINDOW_BITS)
        target = data.get(27)
        _skip_peaks(data)
        found = []
        for _ in range(windows):
            maxscl, average = (data.get(17), data.get(17), data.get(17)), data.get(17)
            percentiles = tuple((data.get(7), data.get(17)) for _ in range(data.get(4)))
            found.append((maxscl, average, percentiles, data.get(10)))
        _skip_peaks(data)
        if not found:
            raise ValueError("the message tells of no window")
        curve = None
        if data.get(1):
            knee = data.get(12), data.get(12)
            curve = GuidedCurve(knee, tuple(data.get(10) for _ in range(data.get(4))))
        maxscl, average, percentiles, bright = found[0]
        return cls(target, maxscl, average, percentiles, bright, curve, version, windows)

    def to_json(self) -> dict[str, Any]:
        """As hdr10plus_tool has it; without a curve there are no data of one."""
        luminance = {
            "AverageRGB": self.average,
            "LuminanceDistributions": {
                "DistributionIndex": [percent for percent, _ in self.percentiles],
                "DistributionValues": [value for _, value in self.percentiles],
            },
            "MaxScl": list(self.maxscl),
        }
        out: dict[str, Any] = {
            "LuminanceParameters": luminance,
            "NumberOfWindows": self.windows,
            "TargetedSystemDisplayMaximumLuminance": self.target,
        }
        if self.curve is not None:
            x, y = self.curve.knee
            curve = {"Anchors": list(self.curve.anchors), "KneePointX": x, "KneePointY": y}
            out = {"BezierCurveData": curve, **out}
        return out


def describe_message(message: bytes | None) -> dict[str, Any] | None:
    """What kind of HDR10+ a message is; None without one, or if it cannot be read."""
    try:
        found = Hdr10Plus.read(message or b"")
    except ValueError:
        return None
    return {"profile": found.profile, "version": found.version, "target_nits": found.target}


def is_hdr10plus(message: bytes) -> bool:
    """Whether a T.35 message is one of HDR10+."""
    return message.startswith(_HEAD)


def film_json(pictures: Sequence[Hdr10Plus]) -> dict[str, Any]:
    """The pictures of a film in display order, in the form of hdr10plus_tool; a scene begins where what is said changes."""
    firsts = [i for i, each in enumerate(pictures) if i == 0 or each != pictures[i - 1]]
    ends = [*firsts[1:], len(pictures)]
    scenes = []
    for number, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        for index in range(first, end):
            place = {
                "SceneFrameIndex": index - first,
                "SceneId": number,
                "SequenceFrameIndex": index,
            }
            scenes.append({**pictures[index].to_json(), **place})
    return {
        "JSONInfo": {
            "HDR10plusProfile": _one({each.profile for each in pictures}),
            "Version": f"{max((each.version for each in pictures), default=1)}.0",
        },
        "SceneInfo": scenes,
        "SceneInfoSummary": {
            "SceneFirstFrameIndex": firsts,
            "SceneFrameNumbers": [end - first for first, end in zip(firsts, ends, strict=True)],
        },
        "ToolInfo": {"Tool": "sdr2hdr", "Version": __version__},
    }


def _one(words: Iterable[str]) -> str:
    found = set(words)
    return found.pop() if len(found) == 1 else "N/A"


def _tenths(nits: float) -> int:
    return max(0, min(_MOST_LIGHT, round(10 * nits)))


def _skip_peaks(data: _Reader) -> None:
    """Pass the actual peaks of a display, area by area, if there are any."""
    if data.get(1):
        for _ in range(data.get(5) * data.get(5)):
            data.get(4)
