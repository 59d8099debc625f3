"""Of a recording with several programmes, the picture's own streams are kept; ffprobe says which those are."""

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from judges import ffprobe
from sound_makers import run_ffmpeg

from sdr2hdr import convert
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.programmes import of_other_programmes
from sdr2hdr.media.stream_plan import StreamChoice, plan_streams

CODECS = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-c:a")


def picture(size: str, seconds: float = 2) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds}")


def tone(hertz: int, later: int = 0) -> tuple[str, ...]:
    return ("-itsoffset", str(later), "-f", "lavfi", "-i", f"sine=f={hertz}:r=48000:d=2")


def recording(out: Path, inputs: tuple[str, ...], *programmes: tuple[int, ...]) -> Path:
    """A transport stream; each programme names the streams it has."""
    number = inputs.count("-i")
    maps = [word for stream in range(number) for word in ("-map", str(stream))]
    titles = [
        word
        for at, streams in enumerate(programmes)
        for word in ("-program", ":".join([f"title=P{at}", *(f"st={s}" for s in streams)]))
    ]
    return run_ffmpeg(out, *inputs, *maps, *titles, *CODECS, "ac3", "-f", "mpegts")


def two(out: Path, film_first: bool = False) -> Path:
    """Two programmes, the clock of the second 200 seconds later; one is the film, the other a radio with a single picture."""
    film, card = picture("320x192"), picture("160x96", 0.04)
    first, second = (film, card) if film_first else (card, film)
    later = ("-itsoffset", "200", *second, *tone(880, 200))
    return recording(out, (*first, *tone(440), *later), (0, 1), (2, 3))


def apart_as_ffprobe_says(path: Path, picture: int) -> dict[int, int]:
    """The streams of other programmes than the picture's, with their programmes' numbers."""
    found = ffprobe(path, "-show_programs")["programs"]
    has = {p["program_num"]: {s["index"] for s in p["streams"]} for p in found}
    own = {s for streams in has.values() if picture in streams for s in streams}
    return {s: number for number, streams in has.items() for s in streams if s not in own}


@pytest.mark.parametrize("film_first", [True, False])
def test_a_film_of_one_of_two_programmes(tmp_path: Path, film_first: bool) -> None:
    source = two(tmp_path / "in.ts", film_first)
    film = 0 if film_first else 2
    with av.open(str(source)) as file:
        assert set(of_other_programmes(file, source, file.streams[film])) == {2 - film, 3 - film}

    report = convert(source, tmp_path / "out.mkv", model="bt2408")

    video, sound = ffprobe(tmp_path / "out.mkv", "-show_streams")["streams"]
    assert (video["width"], sound["codec_name"]) == (320, "ac3")
    assert float(video["start_time"]) == pytest.approx(0, abs=0.05)
    assert float(sound["start_time"]) == pytest.approx(0, abs=0.05)
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.duration == pytest.approx(2e6, abs=5e4)
    number = 2 if film_first else 1
    why = f"it belongs to programme {number} of the recording, not to the picture's"
    assert f"audio stream {3 - film} (ac3) left out: {why}" in report.notes
    assert f"video stream {2 - film} (h264) left out: {why}" in report.notes


def test_tracks_are_those_of_the_programme(tmp_path: Path) -> None:
    source = two(tmp_path / "in.ts")
    plan = plan_streams(source, "mkv", "hevc", 2, StreamChoice(audio_tracks=("1",)))
    assert plan.copied == (3,)
    with pytest.raises(InputError, match=r"no track '2' for --audio-track; it has 1 \(und\)"):
        plan_streams(source, "mkv", "hevc", 2, StreamChoice(audio_tracks=("2",)))
    with pytest.raises(OutputError, match=r"belongs to programme 1 .*--strict-streams"):
        plan_streams(source, "mkv", "hevc", 2, StreamChoice(strict=True))


def with_checks(packets: bytes) -> bytes:
    """Packets with 16 bytes more each, as some receivers record them."""
    return b"".join(packets[at : at + 188] + bytes(16) for at in range(0, len(packets), 188))


def with_times(packets: bytes) -> bytes:
    """Packets with the time of each before it, as on Blu-ray."""
    return b"".join(bytes(4) + packets[at : at + 188] for at in range(0, len(packets), 188))


@pytest.mark.parametrize("form", [with_checks, with_times, lambda packets: packets[100:]])
def test_other_forms_of_transport_streams(tmp_path: Path, form: Callable[[bytes], bytes]) -> None:
    source = two(tmp_path / "in.ts")
    source.write_bytes(form(source.read_bytes()))
    expected = apart_as_ffprobe_says(source, 2)
    assert expected == {0: 1, 1: 1}
    with av.open(str(source)) as file:
        assert of_other_programmes(file, source, file.streams[2]) == expected


def test_a_sound_that_two_programmes_share_a_radio_and_a_table_of_several_packets(
    tmp_path: Path,
) -> None:
    tones = tuple(word for hertz in range(200, 224) for word in tone(hertz))
    shared = recording(
        tmp_path / "in.ts",
        (*picture("320x192"), *picture("160x96"), *tones),
        (0, 2, 3),
        (1, 2),
        tuple(range(4, 26)),
    )
    expected = apart_as_ffprobe_says(shared, 0)
    assert expected == {3: 2, **dict.fromkeys(range(4, 26), 3)}
    with av.open(str(shared)) as file:
        assert of_other_programmes(file, shared, file.streams[0]) == expected


def test_a_damaged_table_is_not_believed(tmp_path: Path) -> None:
    source = two(tmp_path / "in.ts")
    packets = bytearray(source.read_bytes())
    for at in range(0, len(packets), 188):  # the second programme's sound is said to be the first's
        if packets[at + 1] & 0x1F == 0x10 and packets[at + 2] == 0x01:
            table = packets.index(b"\x02", at + 4)
            number = table + 3
            assert packets[number : number + 2] == b"\x00\x02"
            packets[number + 1] = 1
    with av.open(str(source)) as file:
        before = of_other_programmes(file, source, file.streams[0])
        assert before == {2: 2, 3: 2}
        source.write_bytes(packets)
        assert of_other_programmes(file, source, file.streams[0]) == {}


def test_other_containers_have_no_programmes(tmp_path: Path) -> None:
    source = run_ffmpeg(tmp_path / "in.mkv", *picture("160x96"), *tone(440), *CODECS, "ac3")
    with av.open(str(source)) as file:
        assert of_other_programmes(file, source, file.streams[0]) == {}
