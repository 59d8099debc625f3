"""Single pictures of a film, without decoding the pictures between them."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from sdr2hdr.media.picture import Picture
from sdr2hdr.media.source import Source

_READ_ON = Fraction(2)
"""Seconds to the next picture wanted up to which reading on costs less than seeking, which goes back over a keyframe or two."""


def picked(source: Source, wanted: Sequence[int]) -> Iterator[Picture]:
    """For each of the rising pts ``wanted`` the picture at it, or, where damage hides that one, the next one after it.

    Ends early where the film does.
    """
    place = 0
    while place < len(wanted):
        begun = place
        for picture in source.pictures(wanted[place]):
            while place < len(wanted) and picture.pts >= wanted[place]:
                yield picture
                place += 1
            if (
                place == len(wanted)
                or (wanted[place] - picture.pts) * source.info.time_base > _READ_ON
            ):
                break
        if place == begun:
            return
