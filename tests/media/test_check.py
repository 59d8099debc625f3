"""The check of a finished file: passes what is right, names what is wrong."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hdr10_makers import settings, write_chunks, write_source

from sdr2hdr.errors import OutputError
from sdr2hdr.media.assemble import assemble
from sdr2hdr.media.check import Expected, check
from sdr2hdr.media.hdr10 import SEI_LIGHT, SEI_MASTERING, ContentLight, Mastering, sei_nal
from sdr2hdr.media.stream_plan import plan_streams

MASTERING, LIGHT = Mastering("p3", 1000), ContentLight(812, 97)
CONTAINERS = ["mkv", "mp4", "mov"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, Expected]]:
    """A right file of each container, and what is expected of it."""
    folder = tmp_path_factory.mktemp("made")
    source = write_source(folder / "s.mkv", subtitles=("subrip",))
    chunks = write_chunks(folder, settings(), range(30))
    files = {}
    for container in CONTAINERS:
        out = folder / f"out.{container}"
        plan = plan_streams(source, container, "hevc", 0)
        report = assemble(chunks, source, out, plan, mastering=MASTERING, light=LIGHT)
        files[container] = out.read_bytes(), report.expected
    return files


Made = dict[str, tuple[bytes, Expected]]


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_is_right_passes(tmp_path: Path, made: Made, container: str) -> None:
    data, expected = made[container]
    (tmp_path / "out").write_bytes(data)
    check(tmp_path / "out", expected)


def swapped(old: bytes, new: bytes, which: int) -> Callable[[bytes], bytes]:
    """Replaces one occurrence, counted from 0 or from the end with a negative number."""

    def change(data: bytes) -> bytes:
        places = [at for at in range(len(data)) if data.startswith(old, at)]
        at = places[which]
        return data[:at] + new + data[at + len(old) :]

    return change


SEI_OLD, SEI_NEW = (
    sei_nal([(SEI_LIGHT, ContentLight(*figures).payload())]) for figures in ((812, 97), (812, 98))
)
MASTERING_OLD, MASTERING_NEW = (
    sei_nal([(SEI_MASTERING, Mastering("p3", n).payload())]) for n in (1000, 1100)
)
DAMAGE = [
    ("mkv", swapped(SEI_OLD, SEI_NEW, -1), "content light of packet"),
    ("mp4", swapped(SEI_OLD, SEI_NEW, 0), "content light of packet 0"),
    ("mov", swapped(MASTERING_OLD, MASTERING_NEW, 2), "mastering display of packet"),
    ("mkv", swapped(b"\x55\xbd\x81\x61", b"\x55\xbd\x81\x62", 0), "container's content light"),
    (
        "mkv",
        swapped(b"\x55\xbc\x82\x03\x2c", b"\xec\x83\0\0\0", 0),
        "container's content light is None",
    ),
    ("mkv", swapped(b"\x55\xb7\x81\1", b"\x55\xb7\x81\2", 0), "chroma siting"),
    ("mkv", swapped(b"\x55\xb2\x81\x0a", b"\x55\xb2\x81\x08", 0), "bit depth"),
    ("mp4", swapped(b"clli\x03\x2c\0\x61", b"clli\x03\x2c\0\x60", 0), "container's content light"),
    ("mp4", swapped(b"mdcv", b"free", 0), "container's mastering display is None"),
    ("mov", swapped(b"nclc\0\x09\0\x10\0\x09", b"nclc\0\x09\0\x01\0\x09", 0), "colour"),
    ("mp4", swapped(b"hvc1", b"hev1", -1), "sample entry"),
]


@pytest.mark.parametrize(("container", "damage", "words"), DAMAGE)
def test_wrong_metadata_is_named(
    tmp_path: Path, made: Made, container: str, damage: Callable[[bytes], bytes], words: str
) -> None:
    data, expected = made[container]
    (tmp_path / "out").write_bytes(damage(data))
    with pytest.raises(OutputError, match=words):
        check(tmp_path / "out", expected)


@pytest.mark.parametrize("container", CONTAINERS)
def test_one_bit_of_sound_is_noticed(tmp_path: Path, made: Made, container: str) -> None:
    data, expected = made[container]
    (tmp_path / "out").write_bytes(data)
    with av.open(str(tmp_path / "out")) as file:
        packet = bytes(max((p for p in file.demux(audio=0) if p.size), key=lambda p: p.size))
    at = data.index(packet)
    middle = at + len(packet) // 2
    (tmp_path / "out").write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    with pytest.raises(OutputError, match="sound stream 0"):
        check(tmp_path / "out", expected)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_cut_short_never_passes(
    tmp_path: Path, made: Made, container: str, share: float
) -> None:
    data, expected = made[container]
    (tmp_path / "out").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(OutputError, match="fails its check"):
        check(tmp_path / "out", expected)


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_other_expectations_are_named(tmp_path: Path, made: Made, container: str) -> None:
    data, expected = made[container]
    path = tmp_path / "out"
    path.write_bytes(data)
    pts = list(expected.pts)
    sound, text = expected.audio[0], expected.subtitles[0]
    other_sound = replace(expected.audio[0], sha256=hashlib.sha256(b"").hexdigest())
    for wrong, words in (
        ({"pts": pts[:-1]}, "number of frames is 30, not 29"),
        ({"pts": [*pts[:-1], pts[-1] + 1]}, "time of frame 29"),
        ({"shift": Fraction(1, 500)}, "time of frame 0"),
        ({"iraps": 3}, "random access points"),
        ({"codec": "av1"}, "the codec is hevc, not av1"),
        ({"width": 98}, "the size"),
        ({"sample_aspect_ratio": Fraction(4, 3)}, "sample aspect ratio"),
        ({"mastering": Mastering("bt2020", 1000)}, "mastering display of packet 0"),
        ({"light": ContentLight(812, 96)}, "content light of packet 0"),
        ({"audio": ()}, "number of sound streams is 1, not 0"),
        ({"audio": (other_sound,)}, "sound stream 0"),
        (
            {"audio": (replace(sound, samples=sound.samples - 1),)},
            "samples long when it is decoded",
        ),
        (
            {"audio": (replace(sound, marks=[*sound.marks[:-1], sound.marks[-1] - 0.02]),)},
            r"\+0.020 s off after 1 s",
        ),
        ({"audio": (replace(sound, end=sound.end + 0.2),)}, "ends at 1.9.. s, not at 2.1.. s"),
        ({"audio": (replace(sound, codec="opus"),)}, "sound stream 0 is aac, not opus"),
        ({"subtitles": ()}, "number of subtitle streams is 1, not 0"),
        ({"subtitles": (replace(text, start=0.1),)}, "starts at 0.200 s, not at 0.100 s"),
        ({"subtitles": (replace(text, end=1.7),)}, "ends at 1.600 s, not at 1.700 s"),
    ):
        with pytest.raises(OutputError, match=words):
            check(path, replace(expected, **wrong))
    check(path, expected)


def test_a_missing_file_is_told(tmp_path: Path, made: Made) -> None:
    with pytest.raises(OutputError, match="fails its check: it cannot be read"):
        check(tmp_path / "none.mkv", made["mkv"][1])


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_last_frame_that_does_not_decode_is_noticed(
    tmp_path: Path, made: Made, container: str
) -> None:
    data, expected = made[container]
    (tmp_path / "out").write_bytes(data)
    with av.open(str(tmp_path / "out")) as file:
        last = bytes(max((p for p in file.demux(video=0) if p.size), key=lambda p: p.pts))
    at = data.index(last) + 4
    (tmp_path / "out").write_bytes(
        data[:at] + bytes([41 << 1]) + data[at + 1 :]
    )  # a reserved type of NAL unit
    with pytest.raises(OutputError, match="the last frame that decodes"):
        check(tmp_path / "out", expected)
