"""The display that an SDR picture was made for: the meaning of its tags, and the assumptions without them.

Sources: ITU-T H.273 tables 2 and 3 (the numbers of primaries and transfers), IEC 61966-2-1 (sRGB, which untagged stills are).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from av.video.frame import VideoFrame

from sdr2hdr.color.display import USUAL, Display
from sdr2hdr.color.names import DISPLAY_PRIMARIES
from sdr2hdr.media.photo import Photo

UNTAGGED = "untagged"
"""The name of a tag that a file does not have."""
UNNAMED = (UNTAGGED, UNTAGGED)
"""A transfer and primaries that a container says nothing of."""
WIDE = ("p3-dci", "p3-d65", "bt2020")
"""Primaries of colours that models, which work in BT.709, do not see."""

PRIMARY_NAMES = {
    1: "bt709",
    4: "bt470m",
    5: "bt601-625",
    6: "bt601-525",
    7: "bt601-525",  # SMPTE 240M has the same
    8: "film",
    9: "bt2020",
    10: "xyz",
    11: "p3-dci",
    12: "p3-d65",
    22: "ebu3213",
}
TRANSFER_NAMES = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "bt601",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "xvycc",
    12: "bt1361",
    13: "srgb",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "pq",
    17: "smpte428",
    18: "hlg",
}
CURVES = {
    "gamma22": "gamma22",
    "gamma28": "gamma28",
    "srgb": "srgb",
    "linear": "linear",
    "smpte428": "gamma26",
} | dict.fromkeys(
    ("bt709", "bt601", "smpte240m", "xvycc", "bt1361", "bt2020-10", "bt2020-12"), USUAL.transfer
)
"""The display curve that a transfer tag stands for. BT.709 and its kin define a camera's curve; what is made with it is looked at
on a BT.1886 display."""


@dataclass(frozen=True)
class Shown:
    """The display of a picture, and how its transfer and primaries were decided: ``tagged``, ``profile``, ``untagged rule``,
    ``given`` or ``unknown tag``. ``unknown`` is the name of a colour profile that is not known here and would have decided."""

    display: Display
    transfer_from: str
    primaries_from: str
    unknown: str = ""

    @property
    def words(self) -> str:
        """The display and how it was decided, for people."""
        d = self.display
        return f"{d.transfer} ({self.transfer_from}), {d.primaries} ({self.primaries_from})"

    def doubts(
        self, transfer: str, primaries: str, container: tuple[str, str] = UNNAMED
    ) -> tuple[str, ...]:
        """What is assumed of a file with these tags: one sentence for each that is not known or that the
        ``container`` (its transfer and primaries) contradicts, and one for colours that are clipped."""
        found = []
        sides = (
            ("transfer", self.transfer_from, transfer, container[0]),
            ("primaries", self.primaries_from, primaries, container[1]),
        )
        for what, decided_by, tag, other in sides:
            same = CURVES.get(tag, tag) == CURVES.get(other, other)
            if decided_by != "given" and UNTAGGED not in (tag, other) and not same:
                found.append(
                    f"The container of the source names the {what} {other}, but its pictures name {tag}; the pictures were "
                    f"followed. --input-{what} overrides both."
                )
        if self.display.primaries in WIDE:
            found.append(
                f"The source has {self.display.primaries} primaries; its colours outside BT.709 were clipped to BT.709."
            )
        if self.transfer_from == "unknown tag":
            found.append(
                f"The transfer {transfer} that the source is tagged with is not converted here; it was read as BT.1886. "
                "--input-transfer names another."
            )
        if self.primaries_from == "unknown tag":
            found.append(
                f"The primaries {primaries} that the source is tagged with are not converted here; they were read as BT.709's. "
                "--input-primaries names others."
            )
        if self.unknown:
            found.append(
                f"The colour profile of the source ({self.unknown}) is not converted here; it was read as {self.display.transfer}"
                f" and {self.display.primaries}. --input-transfer and --input-primaries name others."
            )
        return tuple(found)


def names_of(primaries: int, transfer: int) -> tuple[str, str]:
    """The names of a transfer and of primaries, in this order, by their numbers in H.273."""
    return _named(TRANSFER_NAMES, transfer), _named(PRIMARY_NAMES, primaries)


def primaries_of(frame: VideoFrame) -> str:
    """The name of the primaries that a frame is tagged with, ``untagged`` if it is not."""
    return _named(PRIMARY_NAMES, frame.color_primaries)


def transfer_of(frame: VideoFrame) -> str:
    """The name of the transfer that a frame is tagged with, ``untagged`` if it is not."""
    return _named(TRANSFER_NAMES, frame.color_trc)


def shown(
    frame: VideoFrame,
    transfer: str = "auto",
    primaries: str = "auto",
    photo: Photo | None = None,
) -> Shown:
    """The display that a frame was made for: as given, as tagged, or the usual one.

    A still picture (``photo``) may have a colour profile, and without one it is sRGB.
    """
    usual = USUAL.transfer if photo is None else "srgb"
    curve, curve_from = _decided(transfer, transfer_of(frame), CURVES, usual)
    gamut, gamut_from = _decided(
        primaries, primaries_of(frame), {name: name for name in DISPLAY_PRIMARIES}, USUAL.primaries
    )
    if photo is None or (profile := photo.profile) is None:
        return Shown(Display(curve, gamut), curve_from, gamut_from)
    weaker = {"untagged rule"} | ({"tagged", "unknown tag"} if photo.profile_first else set())
    if not profile.is_known:
        unknown = profile.name if weaker & {curve_from, gamut_from} else ""
        return Shown(Display(curve, gamut), curve_from, gamut_from, unknown)
    if curve_from in weaker:
        curve, curve_from = profile.transfer, "profile"
    if gamut_from in weaker:
        gamut, gamut_from = profile.primaries, "profile"
    return Shown(Display(curve, gamut), curve_from, gamut_from)


def _named(names: Mapping[int, str], number: int) -> str:
    return names.get(
        number, UNTAGGED if number in (0, 2) else f"number {number}"
    )  # 2 is "unspecified"


def _decided(given: str, tag: str, known: Mapping[str, str], usual: str) -> tuple[str, str]:
    if given != "auto":
        return given, "given"
    if tag == UNTAGGED:
        return usual, "untagged rule"
    return (known[tag], "tagged") if tag in known else (usual, "unknown tag")
