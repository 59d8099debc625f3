"""The payloads of static HDR metadata, and putting them into packets."""

import re
import struct
from fractions import Fraction

import av
import pytest
from hdr10_makers import planes
from hypothesis import given
from hypothesis import strategies as st

from sdr2hdr.media import hdr10
from sdr2hdr.media.hdr10 import ContentLight, Mastering

P3_1000 = Mastering("p3", 1000)
LIGHT = ContentLight(987, 123)


def encode(codec: str, params: dict[str, str], count: int = 5) -> list[bytes]:
    """Packets of an encoder that was told the P3 display at 1000 nits, with a key frame every fourth picture."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 96, 64, "yuv420p10le"
    context.time_base, context.framerate, context.gop_size = Fraction(1, 25), Fraction(25), 4
    context.options = {"preset": "ultrafast" if codec == "libx265" else "12", **params}
    packets = []
    for number in range(count):
        frame = av.VideoFrame.from_dlpack(planes(number), format="yuv420p10le")
        frame.pts, frame.time_base = number, context.time_base
        packets += context.encode(frame)
    return [bytes(packet) for packet in [*packets, *context.encode(None)]]


X265_P3 = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"  # the example of x265's own manual


@pytest.fixture(scope="module")
def x265_packets() -> list[bytes]:
    params = f"log-level=none:repeat-headers=1:master-display={X265_P3}:max-cll=987,123:open-gop=0:bframes=0"
    return encode("libx265", {"x265-params": params})


@pytest.fixture(scope="module")
def svt_packets() -> list[bytes]:
    display = "G(0.265,0.690)B(0.150,0.060)R(0.680,0.320)WP(0.3127,0.3290)L(1000,0.0001)"
    return encode(
        "libsvtav1",
        {"svtav1-params": f"mastering-display={display}:content-light=987,123:irefresh-type=2"},
    )


def test_hevc_payloads_are_those_x265_writes(x265_packets: list[bytes]) -> None:
    found = hdr10.hevc_metadata(hdr10.split_annexb(x265_packets[0]))
    assert found == {137: P3_1000.payload(), 144: LIGHT.payload()}


def test_hevc_payload_is_the_example_of_the_x265_manual() -> None:
    assert struct.unpack(">8H2I", P3_1000.payload()) == tuple(
        int(n) for n in re.findall(r"\d+", X265_P3)
    )


def test_av1_payloads_are_those_svt_writes(svt_packets: list[bytes]) -> None:
    found = hdr10.av1_metadata(svt_packets[0])
    assert found[hdr10.OBU_LIGHT] == LIGHT.payload()
    ours, theirs = (
        struct.unpack(">8H2I", p) for p in (P3_1000.av1_payload(), found[hdr10.OBU_MASTERING])
    )
    # SVT-AV1 truncates where we round, so its figures may be one step less.
    assert all(0 <= a - b <= 1 for a, b in zip(ours, theirs, strict=True))


def test_descriptions_say_what_was_put_in() -> None:
    for described in (
        hdr10.describe_mastering(P3_1000.payload()),
        hdr10.describe_av1_mastering(P3_1000.av1_payload()),
    ):
        assert described["red"] == pytest.approx([0.680, 0.320], abs=2e-5)
        assert described["green"] == pytest.approx([0.265, 0.690], abs=2e-5)
        assert described["blue"] == pytest.approx([0.150, 0.060], abs=2e-5)
        assert described["white"] == pytest.approx([0.3127, 0.3290], abs=2e-5)
        assert described["max_nits"] == 1000
        assert described["min_nits"] == pytest.approx(0.0001, abs=3e-5)
    assert hdr10.describe_light(LIGHT.payload()) == {"max_cll": 987, "max_fall": 123}


@pytest.mark.parametrize("keep_sets", [True, False])
def test_hevc_edit_replaces_stale_metadata_and_nothing_else(
    x265_packets: list[bytes], keep_sets: bool
) -> None:
    mastering, light = Mastering("bt2020", 4000), ContentLight(256, 3)
    iraps = 0
    for packet in x265_packets:
        before = hdr10.split_annexb(packet)
        after = hdr10.edit_hevc(before, mastering, light, keep_sets=keep_sets)
        irap = hdr10.is_irap(before)
        iraps += irap
        wanted = {137: mastering.payload(), 144: light.payload()} if irap else {}
        assert hdr10.hevc_metadata(after) == wanted
        ours = [
            hdr10.sei_nal([message]) for message in wanted.items()
        ]  # one NAL unit for each message
        first_slice = next(i for i, nal in enumerate(after) if hdr10.nal_type(nal) < 32)
        assert after[first_slice - len(ours) : first_slice] == ours
        dropped = () if keep_sets else (32, 33, 34)
        stale = [nal for nal in before if hdr10.hevc_metadata([nal])]
        others = [nal for nal in before if hdr10.nal_type(nal) not in dropped and nal not in stale]
        assert [nal for nal in after if nal not in ours] == others
        assert hdr10.split_sized(hdr10.join_sized(after), 4) == after
    assert iraps == 2


def test_hevc_edit_keeps_the_other_messages_of_a_shared_nal_unit() -> None:
    other = (5, bytes(range(256)) * 2)
    idr = bytes([19 << 1, 1, 0x80])
    shared = hdr10.sei_nal([(144, b"\0\1\0\1"), other])
    after = hdr10.edit_hevc([shared, idr], P3_1000, LIGHT, keep_sets=True)
    assert [m for nal in after[:-1] for m in hdr10.sei_messages(nal)] == [
        other,
        (137, P3_1000.payload()),
        (144, LIGHT.payload()),
    ]


def test_av1_edit_replaces_stale_metadata_and_nothing_else(svt_packets: list[bytes]) -> None:
    mastering, light = Mastering("bt2020", 600), ContentLight(1, 0)
    keys = 0
    for packet in svt_packets:
        after = hdr10.edit_av1(packet, mastering, light)
        key = bool(hdr10.sequence_headers(packet))
        keys += key
        wanted = {1: light.payload(), 2: mastering.av1_payload()} if key else {}
        assert hdr10.av1_metadata(after) == wanted
        without = [
            [whole for kind, whole, _ in hdr10.split_obus(unit) if kind != 5]
            for unit in (packet, after)
        ]
        assert without[0] == without[1]
    assert keys == 2


def test_records_lose_their_stale_metadata_and_keep_the_parameter_sets(
    x265_packets: list[bytes],
) -> None:
    def arrays(record: bytes) -> dict[int, tuple[int, list[bytes]]]:
        found, at = {}, 23
        for _ in range(record[22]):
            kind, count = record[at] & 63, int.from_bytes(record[at + 1 : at + 3], "big")
            nals, flag = [], record[at] >> 7
            at += 3
            for _ in range(count):
                size = int.from_bytes(record[at : at + 2], "big")
                nals.append(record[at + 2 : at + 2 + size])
                at += 2 + size
            found[kind] = (flag, nals)
        assert at == len(record)
        return found

    nals = hdr10.split_annexb(x265_packets[0])
    sets = {hdr10.nal_type(nal): nal for nal in nals if hdr10.nal_type(nal) in (32, 33, 34, 39)}
    arrays_of = b"".join(bytes([k, 0, 1]) + len(n).to_bytes(2, "big") + n for k, n in sets.items())
    record = bytes(22) + bytes([len(sets)]) + arrays_of
    assert 39 in arrays(record)
    for complete in (True, False):
        kept = arrays(hdr10.clean_hvcc(record, complete=complete))
        assert kept == {kind: (int(complete), [sets[kind]]) for kind in (32, 33, 34)}


def test_av1_record_loses_its_stale_metadata(svt_packets: list[bytes]) -> None:
    header = hdr10.sequence_headers(svt_packets[0])[0]
    stale = next(whole for kind, whole, _ in hdr10.split_obus(svt_packets[0]) if kind == 5)
    assert hdr10.clean_av1c(b"\x81\0\0\0" + header + stale) == b"\x81\0\0\0" + header


@given(st.binary(max_size=60) | st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=60).map(bytes))
def test_emulation_prevention_hides_start_codes_and_can_be_undone(raw: bytes) -> None:
    escaped = hdr10.escape(raw)
    assert not re.search(rb"\0\0[\0\1\2]", escaped)
    assert hdr10.unescape(escaped) == raw


@given(st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=600)), min_size=1, max_size=4))
def test_sei_messages_survive_the_round_trip(messages: list[tuple[int, bytes]]) -> None:
    assert hdr10.sei_messages(hdr10.sei_nal(messages)) == messages


@given(st.binary(max_size=80))
def test_readers_take_any_bytes(data: bytes) -> None:
    nals = hdr10.split_annexb(data) + hdr10.split_sized(data, 4)
    hdr10.hevc_metadata(nals)
    hdr10.sei_messages(data)
    assert (
        b"".join(whole for _, whole, _ in hdr10.split_obus(data))
        == data[: sum(len(w) for _, w, _ in hdr10.split_obus(data))]
    )
    hdr10.av1_metadata(data)


def test_figures_out_of_range_are_refused() -> None:
    for wrong in (("rec709", 1000, 0.0001), ("p3", 20000, 0.0001), ("p3", 100, 200)):
        with pytest.raises(ValueError):
            Mastering(*wrong)
    with pytest.raises(ValueError):
        ContentLight(70000, 0)
