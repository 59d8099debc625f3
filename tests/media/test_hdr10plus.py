"""The message of HDR10+ and its JSON, against a message of a telephone and against the syntax."""

import random

import pytest

from sdr2hdr.color.guided import GuidedCurve
from sdr2hdr.color.light import LightFacts
from sdr2hdr.media.hdr10 import (
    av1_t35,
    av1_with_t35,
    hevc_t35,
    sei_nal,
    split_obus,
    with_t35,
)
from sdr2hdr.media.hdr10plus import Hdr10Plus, film_json, is_hdr10plus

PICTURE = Hdr10Plus(
    target=400,
    maxscl=(8413, 7000, 65),
    average=1359,
    percentiles=((1, 0), (5, 12), (10, 40), (25, 90), (50, 700), (75, 1900), (90, 4000), (95, 5100), (99, 6753)),
    bright=7,
    curve=GuidedCurve((1335, 2808), (445, 700, 850, 950, 990, 1010, 1020, 1023, 1023)),
)  # fmt: skip


TELEPHONE = bytes.fromhex(
    "b5003c0001040040000c804e202710000f000024080000280000500028c800a190039a580b6ad0232af8408b189c1800"
    "40781364cf78edccbf5adef98ec7c300"
)
"""What a telephone wrote; FFmpeg's reading of it is below."""


def bits(*fields: tuple[int, int]) -> bytes:
    """Fields of (value, bits), one after another, filled up with zeros."""
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def test_the_bits_are_those_of_the_standard() -> None:
    head = [(0xB5, 8), (0x3C, 16), (1, 16), (4, 8), (1, 8), (1, 2), (400, 27), (0, 1)]
    light = [(8413, 17), (7000, 17), (65, 17), (1359, 17), (9, 4)]
    spread = [field for p, v in PICTURE.percentiles for field in ((p, 7), (v, 17))]
    assert PICTURE.curve is not None
    curve = [(1335, 12), (2808, 12), (9, 4), *((anchor, 10) for anchor in PICTURE.curve.anchors)]
    wanted = bits(*head, *light, *spread, (7, 10), (0, 1), (1, 1), *curve, (0, 1))
    assert PICTURE.message() == wanted
    assert Hdr10Plus.read(wanted) == PICTURE


def test_a_message_of_a_telephone_is_read_as_ffmpeg_reads_it() -> None:
    found = Hdr10Plus.read(TELEPHONE)
    spread = (1, 0), (5, 0), (10, 10), (25, 40), (50, 230), (75, 730), (90, 2250), (95, 4130), (99, 9990)  # fmt: skip
    curve = GuidedCurve((30, 77), (207, 483, 732, 815, 858, 891, 920, 945, 963))
    assert found == Hdr10Plus(400, (10000, 10000, 30), 0, spread, 0, curve, version=0)
    assert found.message() == TELEPHONE


def test_all_that_the_syntax_allows_is_passed_over() -> None:
    window = [(0, 16)] * 4 + [(9, 16)] * 2 + [(3, 8), (1, 16), (2, 16), (3, 16), (1, 1)]
    peaks = [(1, 1), (2, 5), (3, 5), *[(7, 4)] * 6]
    light = [(10, 17), (20, 17), (30, 17), (15, 17), (1, 4), (50, 7), (12, 17), (3, 10)]
    other = [(0, 17)] * 4 + [(0, 4), (0, 10)]
    message = bits(
        (0xB5, 8), (0x3C, 16), (1, 16), (4, 8), (0, 8), (2, 2), *window, (500, 27), *peaks,
        *light, *other, *peaks, (0, 1), (1, 1), (5, 6), (0, 1), (0, 1),
    )  # fmt: skip
    found = Hdr10Plus.read(message)
    assert (found.windows, found.version, found.target) == (2, 0, 500)
    assert (found.maxscl, found.average, found.percentiles) == ((10, 20, 30), 15, ((50, 12),))
    assert found.curve is None and found.profile == "A"


def test_damaged_messages_are_refused_and_end() -> None:
    whole, rng = PICTURE.message(), random.Random(1)
    for length in range(len(whole) - 1):
        with pytest.raises(ValueError, match="message"):
            Hdr10Plus.read(whole[:length])
    for _ in range(500):
        noise = whole[:6] + rng.randbytes(rng.randrange(80))
        try:
            Hdr10Plus.read(noise)
        except ValueError:
            continue


def test_black_and_the_brightest_light_fit() -> None:
    full = (0,) * 4095 + (10,)
    for light in (LightFacts(), LightFacts(10000.0, 1e9, None, full, (10000.0, 10000.0, 10000.0))):
        picture = Hdr10Plus.of(light)
        assert Hdr10Plus.read(picture.message()) == picture and picture.profile == "B"
    assert picture.maxscl == (100000, 100000, 100000) and picture.bright == 1000


def test_json_names_each_scene() -> None:
    other = Hdr10Plus.of(LightFacts())
    found = film_json([PICTURE, PICTURE, PICTURE, other, other])
    assert found["JSONInfo"] == {"HDR10plusProfile": "B", "Version": "1.0"}
    assert found["SceneInfoSummary"] == {
        "SceneFirstFrameIndex": [0, 3],
        "SceneFrameNumbers": [3, 2],
    }
    places = [
        (each["SceneId"], each["SceneFrameIndex"], each["SequenceFrameIndex"])
        for each in found["SceneInfo"]
    ]
    assert places == [(0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 0, 3), (1, 1, 4)]
    assert found["SceneInfo"][0]["BezierCurveData"]["KneePointX"] == 1335
    assert found["SceneInfo"][0]["LuminanceParameters"]["MaxScl"] == [8413, 7000, 65]


def test_messages_lie_beside_others_in_a_packet() -> None:
    message, captions = PICTURE.message(), b"\xb5\x00\x31GA94\x03\xc1\xff\xfc\x00\x00\xff"
    slice_ = bytes([1 << 1, 1, 0xAA])
    nals = with_t35(with_t35([sei_nal([(137, b"\0" * 24)]), slice_], captions), message)
    assert hevc_t35(nals) == [captions, message] and nals[-1] == slice_
    assert [is_hdr10plus(each) for each in hevc_t35(nals)] == [False, True]


def test_av1_has_the_message_before_the_frame_that_is_shown() -> None:
    hidden, shown = b"\x32\x02\x10\x00", b"\x1a\x01\x90"  # a frame, and the header that shows one
    unit = av1_with_t35(b"\x12\x00" + hidden + shown, PICTURE.message())
    assert [kind for kind, _, _ in split_obus(unit)] == [2, 6, 5, 3]
    assert av1_t35(unit) == [PICTURE.message()]
