"""The record of Dolby Vision and its place in a packet, against the bytes that Apple's and FFmpeg's writers make."""

from fractions import Fraction

import pytest

from sdr2hdr.media.dovi import DolbyRecord, describe_record, rpu_in, rpus_of, with_rpu

TELEPHONE = bytes.fromhex("010010154000000000000000000000000000000000000000")
"""Profile 8.4 of a picture of 1280x720 at 30 frames a second."""


def test_a_record_of_a_telephone_is_read() -> None:
    record = DolbyRecord.read(TELEPHONE)
    assert record == DolbyRecord(8, 2, True, False, True, 4)
    assert record.payload() == TELEPHONE and record.box == b"dvvC"
    assert record.words == "profile 8.4, level 2"


@pytest.mark.parametrize(
    ("size", "rate", "level"),
    [
        ((1280, 720), Fraction(24), 1),
        ((1280, 720), Fraction(30), 2),
        ((1920, 1080), Fraction(24000, 1001), 3),
        ((1920, 800), Fraction(24), 3),
        ((1920, 1080), Fraction(60), 5),
        ((3840, 2160), Fraction(24000, 1001), 6),
        ((3840, 2160), Fraction(60), 9),
        ((7680, 4320), Fraction(60), 12),
        ((7680, 4320), Fraction(240), 13),
    ],
)
def test_the_level_follows_from_size_and_rate(
    size: tuple[int, int], rate: Fraction, level: int
) -> None:
    record = DolbyRecord.of(*size, rate)
    assert record.level == level
    assert DolbyRecord.read(record.payload()) == record
    assert record.payload()[:5] == bytes([1, 0, 0x10, level << 3 | 5, 0x10])


def test_a_short_record_says_nothing() -> None:
    assert describe_record(None) is None
    assert describe_record(b"\1\0\x10") is None


def test_metadata_are_one_nal_unit_for_each_picture() -> None:
    bodies = [b"\x19\x08\x09\x80", b"\x19\x00\x00\x03\x01\x80"]
    wanted = [b"\x7c\x01" + body for body in bodies]
    assert rpus_of(b"".join(b"\0\0\0\1" + body for body in bodies)) == wanted
    assert rpus_of(b"".join(b"\0\0\0\1" + nal for nal in wanted)) == wanted
    assert rpus_of(b"text") == []
    with pytest.raises(ValueError, match="something else"):
        rpus_of(b"\0\0\0\1\x26\x01\xaf")


def test_metadata_lie_after_the_picture_and_before_its_end() -> None:
    slice_, suffix, end = bytes([2, 1, 9]), bytes([40 << 1, 1, 9]), bytes([36 << 1, 1])
    rpu = b"\x7c\x01\x19\x80"
    assert with_rpu([slice_, suffix], rpu) == [slice_, suffix, rpu]
    assert with_rpu([slice_, suffix, end], rpu) == [slice_, suffix, rpu, end]
    assert rpu_in([slice_, rpu]) == rpu and rpu_in([slice_]) is None
