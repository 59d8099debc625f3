"""The finished file: HDR10 to every outside reader, and all else of the source kept."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import AttachmentStream, Disposition
from hdr10_makers import CUES, settings, write_chunk, write_chunks, write_source
from judges import ffprobe, mediainfo, need
from PIL import Image
from sound_makers import run_ffmpeg

from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.assemble import AssembleReport, assemble
from sdr2hdr.media.check import check, read_hdr10
from sdr2hdr.media.encoder import ChunkReader
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.stream_plan import plan_streams

BT2020 = Mastering("bt2020", 1000)
# 256 and 3 put 00 00 03 into the payload, which needs an emulation prevention byte.
LIGHT = ContentLight(256, 3)
KINDS = [("hevc", "mkv"), ("hevc", "mp4"), ("hevc", "mov"), ("av1", "mkv"), ("av1", "mp4")]
CONTAINERS = ["mkv", "mp4", "mov"]


def finish(
    folder: Path, source: Path, chunks: Sequence[Path], container: str, name: str = "out"
) -> tuple[Path, AssembleReport]:
    """Assembles and checks."""
    out = folder / f"{name}.{container}"
    codec = ChunkReader(chunks[0]).settings.codec
    plan = plan_streams(source, container, codec, 0)
    report = assemble(chunks, source, out, plan, mastering=BT2020, light=LIGHT)
    check(out, report.expected)
    return out, report


def packets(path: Path, kind: str, number: int = 0) -> list[av.Packet]:
    """All packets of one stream."""
    with av.open(str(path)) as file:
        stream = [s for s in file.streams if s.type == kind][number]
        return [p for p in file.demux(stream) if p.size]


def sound_hash(path: Path, number: int = 0) -> str:
    """Of all bytes of a sound stream."""
    return hashlib.sha256(b"".join(bytes(p) for p in packets(path, "audio", number))).hexdigest()


def seconds(path: Path, kind: str, number: int = 0) -> list[Fraction]:
    """When the packets of a stream are shown, in order."""
    return sorted(p.pts * p.time_base for p in packets(path, kind, number))


def side_data(entry: dict[str, Any], kind: str) -> dict[str, Any]:
    """ffprobe's side data of one kind."""
    return next(s for s in entry["side_data_list"] if s["side_data_type"] == kind)


def ratios(data: dict[str, Any]) -> dict[str, float]:
    """ffprobe's fractions as numbers."""
    return {k: float(Fraction(v)) for k, v in data.items() if k != "side_data_type"}


WANTED_MASTERING = {
    "red_x": 0.708, "red_y": 0.292, "green_x": 0.170, "green_y": 0.797, "blue_x": 0.131, "blue_y": 0.046,
    "white_point_x": 0.3127, "white_point_y": 0.3290, "min_luminance": 0.0001, "max_luminance": 1000,
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Just any source."""
    return write_source(tmp_path_factory.mktemp("plain") / "s.mkv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """One file of each kind, of two chunks with four key frames."""
    folder = tmp_path_factory.mktemp("finished")
    source = write_source(folder / "source.mkv", pts=range(30))
    files = {}
    for codec in ("hevc", "av1"):
        chunks = write_chunks(
            folder, settings(codec, sample_aspect_ratio=Fraction(4, 3)), range(30)
        )
        for container in CONTAINERS:
            if (codec, container) in KINDS:
                files[codec, container], _ = finish(folder, source, chunks, container, codec)
    return files


@pytest.mark.parametrize("kind", KINDS)
def test_ffprobe_reads_the_same_hdr10_in_container_and_on_every_key_frame(
    finished: dict[tuple[str, str], Path], kind: tuple[str, str]
) -> None:
    need("ffprobe")
    path = finished[kind]
    stream = ffprobe(path, "-show_streams", "-select_streams", "v")["streams"][0]
    assert (stream["codec_name"], stream["pix_fmt"], stream["color_range"]) == (
        kind[0],
        "yuv420p10le",
        "tv",
    )
    assert (stream["color_primaries"], stream["color_transfer"], stream["color_space"]) == (
        "bt2020",
        "smpte2084",
        "bt2020nc",
    )
    assert stream["chroma_location"] == "topleft"
    assert float(Fraction(stream["sample_aspect_ratio"].replace(":", "/"))) == pytest.approx(
        4 / 3, rel=1e-6
    )
    assert Fraction(stream["avg_frame_rate"]) == 25
    if kind[1] != "mkv":
        assert stream["codec_tag_string"] == {"hevc": "hvc1", "av1": "av01"}[kind[0]]
    frames = ffprobe(path, "-show_frames", "-select_streams", "v", "-skip_frame", "nokey")["frames"]
    frames = [frame for frame in frames if frame["key_frame"]]
    assert len(frames) == 4
    for entry in (stream, *frames):
        light = side_data(entry, "Content light level metadata")
        assert (light["max_content"], light["max_average"]) == (256, 3)
        # AV1 counts in 1/65536 and the darkest luminance in 1/16384 nits.
        mastering = ratios(side_data(entry, "Mastering display metadata"))
        assert mastering == pytest.approx(WANTED_MASTERING, abs=3e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_mediainfo_calls_it_hdr10(
    finished: dict[tuple[str, str], Path], kind: tuple[str, str]
) -> None:
    need("mediainfo")
    video = mediainfo(finished[kind])
    assert "HDR10" in video["HDR_Format_Compatibility"]
    assert "2086" in video["HDR_Format"]
    assert video["MasteringDisplay_ColorPrimaries"] == "BT.2020"
    assert (
        video["MasteringDisplay_Luminance"].startswith("min: 0.000")
        and "max: 1000 " in video["MasteringDisplay_Luminance"]
    )
    assert (video["MaxCLL"].split()[0], video["MaxFALL"].split()[0]) == ("256", "3")
    assert (video["BitDepth"], video["ChromaSubsampling"]) == ("10", "4:2:0")
    if kind[0] == "hevc":
        assert video["ChromaSubsampling_Position"] == "Type 2"


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_matroska_tools_find_nothing_wrong(
    finished: dict[tuple[str, str], Path], codec: str
) -> None:
    path = finished[codec, "mkv"]
    facts = json.loads(
        subprocess.run([need("mkvmerge"), "-J", str(path)], capture_output=True, check=True).stdout
    )
    assert facts["warnings"] == facts["errors"] == []
    video = facts["tracks"][0]["properties"]
    assert video["pixel_dimensions"] == "96x64"
    assert video["display_dimensions"] == "128x64"
    assert video["chroma_siting"] == "1,1"
    info = subprocess.run(
        [need("mkvinfo"), "-v", str(path)], capture_output=True, check=True, text=True
    ).stdout
    for line in (
        "Bits per channel: 10",
        "Maximum content light: 256",
        "Maximum frame light: 3",
        "Color range: 1",
        "Color transfer: 16",
    ):
        assert line in info


@pytest.mark.parametrize("kind", KINDS)
def test_read_hdr10_finds_it_in_both_places(
    finished: dict[tuple[str, str], Path], kind: tuple[str, str]
) -> None:
    found = read_hdr10(finished[kind])
    assert (found["codec"], found["colour"]) == (kind[0], [9, 16, 9])
    for place in ("bitstream", "container"):
        assert found[place]["light"] == {"max_cll": 256, "max_fall": 3}
        assert found[place]["mastering"]["green"] == pytest.approx([0.170, 0.797], abs=1e-5)


def test_read_hdr10_of_a_file_without_it_and_of_no_video(tmp_path: Path) -> None:
    found = read_hdr10(write_source(tmp_path / "sdr.mkv"))
    assert found["bitstream"] == {"mastering": None, "light": None, "hdr10plus": None}
    assert found["container"] == {"mastering": None, "light": None, "dolby_vision": None}
    (tmp_path / "text.mkv").write_text("no video")
    with pytest.raises(InputError, match=r"text\.mkv"):
        read_hdr10(tmp_path / "text.mkv")


def test_hvc1_has_its_parameter_sets_out_of_band_alone(
    finished: dict[tuple[str, str], Path],
) -> None:
    from sdr2hdr.media.hdr10 import parameter_sets, split_sized

    for container in CONTAINERS:
        path = finished["hevc", container]
        with av.open(str(path)) as file:
            record = file.streams.video[0].codec_context.extradata
        assert {record[23] & 63, record[22]} == {32, 3}  # three arrays, VPS first: no SEI
        in_band = [parameter_sets(split_sized(bytes(p), 4)) for p in packets(path, "video")]
        assert bool(record[23] >> 7) is (container != "mkv")  # array_completeness
        assert any(in_band) is (container == "mkv")


def test_mp4_has_its_index_in_front(finished: dict[tuple[str, str], Path]) -> None:
    for kind in (("hevc", "mp4"), ("hevc", "mov")):
        data = finished[kind].read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("container", CONTAINERS)
def test_joined_chunks_decode_to_the_pictures_of_the_chunks(
    tmp_path: Path, plain: Path, container: str
) -> None:
    how = settings(preset="medium", keyint=20)
    chunks = write_chunks(tmp_path, how, range(30), parts=3)
    out, _ = finish(tmp_path, plain, chunks, container)
    apart = []
    for chunk in chunks:
        raw = tmp_path / "raw.hevc"
        raw.write_bytes(b"".join(p.data for p in ChunkReader(chunk).packets()))
        with av.open(str(raw)) as file:
            apart += [
                hashlib.sha256(f.to_ndarray().tobytes()).digest() for f in file.decode(video=0)
            ]
    with av.open(str(out)) as file:
        joined = [hashlib.sha256(f.to_ndarray().tobytes()).digest() for f in file.decode(video=0)]
    assert len(set(apart)) == 30
    assert joined == apart


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_same_chunks_give_the_same_file(tmp_path: Path, plain: Path, container: str) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        chunks = write_chunks(tmp_path / name, settings(), range(20))
        files.append(finish(tmp_path, plain, chunks, container, name)[0].read_bytes())
    assert files[0] == files[1]


VFR = [0, 40, 90, 100, 101, 250, 300, 1000, 1040, 1041, 1042, 1500, 1533, 1567, 1600, 1900]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("time_base", "pts"),
    [
        (Fraction(1, 1000), VFR),
        (Fraction(1, 90000), [1234 + 90 * t for t in VFR]),
        (Fraction(1001, 24000), list(range(7, 23))),
        (Fraction(1, 600), [25 * n for n in range(16)]),
    ],
)
def test_times_are_the_sources(
    tmp_path: Path, plain: Path, kind: tuple[str, str], time_base: Fraction, pts: list[int]
) -> None:
    how = settings(kind[0], time_base=time_base, preset={"hevc": "fast", "av1": "12"}[kind[0]])
    out, report = finish(tmp_path, plain, write_chunks(tmp_path, how, pts), kind[1])
    found = packets(out, "video")
    assert report.frames == len(found) == len(pts)
    slack = Fraction(1, 2000) if kind[1] == "mkv" else 0
    for have, want in zip(seconds(out, "video"), pts, strict=True):
        assert abs(have - want * time_base) <= slack
    if kind[1] != "mkv":  # Matroska has no decode times
        assert found[0].time_base == Fraction(1, time_base.denominator)
        assert all(p.dts <= p.pts for p in found)
        assert all(a.dts < b.dts for a, b in pairwise(found))


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_last_frame_lasts(tmp_path: Path, container: str) -> None:
    write_chunk(tmp_path / "a.chunk", settings(), range(10), [1] * 9 + [50])
    source = write_source(tmp_path / "s.mkv", sounds=())
    out, _ = finish(tmp_path, source, [tmp_path / "a.chunk"], container)
    with av.open(str(out)) as file:
        assert file.duration == pytest.approx((9 + 50) / 25 * av.time_base, abs=1000)


def test_variable_rate_names_no_rate(tmp_path: Path, plain: Path) -> None:
    how = settings(time_base=Fraction(1, 1000))
    out, _ = finish(tmp_path, plain, write_chunks(tmp_path, how, VFR), "mkv")
    info = subprocess.run(
        [need("mkvinfo"), "-v", str(out)], capture_output=True, check=True, text=True
    ).stdout
    assert "Default duration" not in info


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("start", [Fraction(0), Fraction(1, 5), Fraction(-1, 8)])
def test_sound_is_bit_for_bit_and_keeps_its_distance(
    tmp_path: Path, container: str, start: Fraction
) -> None:
    # The source is MP4, where the encoder's priming samples lie before 0, and the picture begins 0.28 s late.
    pts = range(7, 40)
    source = write_source(
        tmp_path / "s.mp4", container="mp4", sounds=("aac", "flac"), pts=pts, sound_start=start
    )
    sounds = 2 if container != "mov" else 1
    if container == "mov":  # which has no FLAC
        source = write_source(
            tmp_path / "s.mp4", container="mp4", sounds=("aac",), pts=pts, sound_start=start
        )
    with av.open(str(source)) as file:
        time_base = file.streams.video[0].time_base
        shown = sorted(p.pts for p in file.demux(video=0) if p.size)
    out, report = finish(
        tmp_path, source, write_chunks(tmp_path, settings(time_base=time_base), shown), container
    )
    assert report.damaged == 0
    assert seconds(out, "video")[0] == shown[0] * time_base
    step = Fraction(1, 1000) if container == "mkv" else Fraction(1, 48000)
    for number in range(sounds):
        ours, theirs = (packets(path, "audio", number) for path in (out, source))
        if start < 0:  # of what was cut away, only what the decoder needs is kept
            assert len([p for p in ours if p.pts < 0]) <= 2
            ours, theirs = ([p for p in each if p.pts >= 0] for each in (ours, theirs))
        assert [bytes(p) for p in ours] == [bytes(p) for p in theirs]
        assert (
            max(
                abs(a.pts * a.time_base - b.pts * b.time_base)
                for a, b in zip(ours, theirs, strict=True)
            )
            <= step
        )


def test_cues_without_an_end_stand_until_the_next_one(tmp_path: Path) -> None:
    lines = tmp_path / "lines.srt"
    lines.write_text(
        "1\n00:00:00,200 --> 00:00:00,900\none\n\n2\n00:00:01,000 --> 00:00:01,700\ntwo\n"
    )
    source = run_ffmpeg(  # NUT keeps no length of a cue
        tmp_path / "s.nut", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2", "-i", str(lines),
        "-map", "0", "-map", "1", "-c:v", "mpeg4", "-c:s", "ass",
    )  # fmt: skip
    out, _ = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mp4")
    shown = [
        (float(p.pts * p.time_base), bytes(p)[2:])
        for p in packets(out, "subtitle")
        if len(bytes(p)) > 2
    ]
    begin = shown[0][0]
    assert shown == [(begin, b"one"), (pytest.approx(begin + 0.8, abs=0.002), b"two")]
    assert begin == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("said", [0, 2**32 - 1])
def test_pictures_of_subtitles_without_an_end_are_all_shown_in_mp4(
    tmp_path: Path, said: int
) -> None:
    """A DVD's subtitles lie in its streams without a length, in Matroska often with the largest that there is."""
    source = tmp_path / "s.mkv"
    times = [200, 1000, 9000]
    with av.open(str(source), "w") as file:
        picture = file.add_stream("mpeg4", 25, width=96, height=64, pix_fmt="yuv420p")
        texts = file.add_stream("dvd_subtitle")
        texts.time_base = Fraction(1, 1000)
        file.mux(picture.encode(av.VideoFrame(96, 64, "yuv420p")))
        file.mux(picture.encode())
        for number, time in enumerate(times):
            packet = av.Packet(bytes([number]) * 40)
            packet.pts = packet.dts = time
            packet.duration, packet.time_base, packet.stream = said, texts.time_base, texts
            file.mux(packet)
    out, report = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mp4")
    assert not report.damaged
    shown = [p for p in packets(out, "subtitle") if p.size]
    assert [bytes(p)[0] for p in shown] == [0, 1, 2]
    starts = [float(p.pts * p.time_base) for p in shown]
    assert starts == pytest.approx([0.2, 1.0, 9.0], abs=0.002)
    lengths = [float(p.duration * p.time_base) for p in shown]
    assert lengths == pytest.approx([0.8, 8.0, 5.0], abs=0.002)
    mkv, _ = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mkv")
    with av.open(str(mkv)) as file:
        assert file.duration < 60e6


def test_a_cue_without_an_end_does_not_make_the_film_longer(tmp_path: Path) -> None:
    lines = tmp_path / "lines.srt"
    lines.write_text("1\n00:00:00,200 --> 00:00:00,300\none\n")
    source = run_ffmpeg(  # NUT keeps no length of a cue
        tmp_path / "s.nut", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.8", "-i", str(lines),
        "-map", "0", "-map", "1", "-c:v", "mpeg4", "-c:s", "ass",
    )  # fmt: skip
    for kind in CONTAINERS:
        out, _ = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), kind)
        with av.open(str(out)) as file:
            assert file.duration == pytest.approx(800_000, abs=60_000)
        (shown,) = (p for p in packets(out, "subtitle") if len(bytes(p)) > 2)
        if kind != "mkv":
            end = (shown.pts + shown.duration) * shown.time_base
            assert float(end) == pytest.approx(0.8, abs=0.005)


def test_pictures_closer_than_a_millisecond_are_named_in_mkv_and_kept_in_mp4(
    tmp_path: Path,
) -> None:
    how = settings(time_base=Fraction(1, 4000))
    source = write_source(tmp_path / "s.mkv")
    chunks = write_chunks(tmp_path, how, range(20))
    told = "shown at the time of the one before"
    mkv, report = finish(tmp_path, source, chunks, "mkv")
    apart = len(set(seconds(mkv, "video")))
    assert apart < 20
    assert any(note.startswith(f"{20 - apart} pictures {told}") for note in report.notes)
    mp4, report = finish(tmp_path, source, chunks, "mp4")
    assert sorted(seconds(mp4, "video")) == [Fraction(t, 4000) for t in range(20)]
    assert not any(told in note for note in report.notes)


def test_picture_before_zero(tmp_path: Path) -> None:
    how = settings(time_base=Fraction(1, 1000))
    pts = [-83, -42, 0, 42, 83, 125, 167, 208]
    source = write_source(tmp_path / "s.mkv", subtitles=("subrip",), extras=True)
    chunks = write_chunks(tmp_path, how, pts)
    out, report = finish(tmp_path, source, chunks, "mkv")
    assert any("0.083 s later" in note for note in report.notes)
    assert seconds(out, "video") == [Fraction(t + 83, 1000) for t in pts]
    for kind in ("audio", "subtitle"):
        gaps = {a - b for a, b in zip(seconds(out, kind), seconds(source, kind), strict=True)}
        assert gaps == {Fraction(83, 1000)}
    with av.open(str(out)) as file:
        assert [c["start"] * c["time_base"] for c in file.chapters()] == [
            Fraction(83, 1000),
            Fraction(1083, 1000),
        ]
    mp4, report = finish(tmp_path, source, chunks, "mp4")
    assert any(
        "0.083 s later" in note for note in report.notes
    )  # an edit list would hide what lies before 0
    assert seconds(mp4, "video") == [Fraction(t + 83, 1000) for t in pts]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("codec", ["subrip", "ass", "webvtt", "mov_text"])
def test_subtitles_keep_text_and_times(tmp_path: Path, container: str, codec: str) -> None:
    kind = "mp4" if codec == "mov_text" else "matroska"
    source = write_source(tmp_path / f"s.{kind}", container=kind, subtitles=(codec,))
    out, report = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), container)
    kept = (codec == "mov_text") is (container != "mkv")
    assert any("converted" in note for note in report.notes) is not kept
    found = [p for p in packets(out, "subtitle") if p.size > 2]  # MP4 fills gaps with empty samples
    assert [
        (round(p.pts * p.time_base * 1000), round(p.duration * p.time_base * 1000)) for p in found
    ] == [(start, end - start) for start, end, _ in CUES]
    for packet, words in zip(found, ("Good", "Zwölf Boxkämpfer"), strict=True):
        assert words.encode() in bytes(packet)
    if (
        codec == "subrip"
    ):  # the italics are kept as SRT's own mark, or as a style of MP4's timed text
        assert (b"<i>morning</i>" if container == "mkv" else b"styl") in bytes(found[0])
    need("ffprobe")
    wanted = {"mkv": "subrip" if codec == "mov_text" else codec}.get(container, "mov_text")
    assert (
        ffprobe(out, "-show_streams", "-select_streams", "s")["streams"][0]["codec_name"] == wanted
    )


def test_cues_that_overlap_are_all_readable_in_mp4(tmp_path: Path) -> None:
    cues = ((100, 1000, "Sign"), (100, 500, "One"), (500, 900, "Two"), (1500, 1800, "End"))
    source = write_source(tmp_path / "s.mkv", subtitles=("ass",), cues=cues)
    out, _ = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mp4")
    shown = []
    for packet in packets(out, "subtitle"):
        data = bytes(packet)
        text = data[2 : 2 + int.from_bytes(data[:2], "big")].decode()
        if text:
            shown.append(
                (
                    round(packet.pts * packet.time_base * 1000),
                    round(packet.duration * packet.time_base * 1000),
                    text,
                )
            )
    assert shown == [
        (100, 400, "Sign\nOne"),
        (500, 400, "Sign\nTwo"),
        (900, 100, "Sign"),
        (1500, 300, "End"),
    ]


def test_matroska_keeps_tags_chapters_fonts_and_dispositions(tmp_path: Path) -> None:
    source = write_source(
        tmp_path / "s.mkv", sounds=("aac", "libopus"), subtitles=("subrip",), extras=True
    )
    out, report = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mkv")
    assert report.notes == ()
    with av.open(str(source)) as theirs, av.open(str(out)) as ours:
        assert [s.type for s in ours.streams] == [s.type for s in theirs.streams]
        kept = {key.lower(): value for key, value in ours.metadata.items()}
        assert (kept["title"], kept["artist"], kept["my_own"]) == ("A test", "Nobody", "kept")
        assert ours.chapters() == theirs.chapters()
        for mine, other in zip(ours.streams, theirs.streams, strict=True):
            assert mine.disposition == other.disposition
            for key in ("language", "title"):
                assert mine.metadata.get(key) == other.metadata.get(key)
        assert ours.streams[2].disposition != 0 or ours.streams[1].disposition != 0
        font = next(s for s in ours.streams if isinstance(s, AttachmentStream))
        assert (font.metadata["filename"], font.data) == ("font.ttf", b"not a font, but bytes")
    assert sound_hash(out, 1) == sound_hash(source, 1)


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_mp4_keeps_what_it_can_and_says_what_it_cannot(tmp_path: Path, container: str) -> None:
    source = write_source(tmp_path / "s.mkv", subtitles=("subrip",), extras=True)
    out, report = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), container)
    notes = "\n".join(report.notes)
    assert "attachment font.ttf left out" in notes
    assert "MY_OWN" in notes
    assert "subtitle stream 2 (subrip) converted to mov_text" in notes
    with av.open(str(out)) as file:
        assert (file.metadata["title"], file.metadata["artist"]) == ("A test", "Nobody")
        assert [c["metadata"]["title"] for c in file.chapters()] == ["Dawn", "Dusk"]
        # QuickTime's number for German is read back as the other code of ISO 639-2.
        assert file.streams.audio[0].metadata["language"] == {"mp4": "deu", "mov": "ger"}[container]
        assert file.streams.subtitles[0].metadata["language"] == "fra"


def add_streams(source: Path, out: Path, *arguments: str) -> Path:
    """A source changed by ffmpeg, stream copied unless the arguments say otherwise."""
    subprocess.run(
        [need("ffmpeg"), "-v", "error", "-y", "-i", str(source), *arguments, str(out)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return out


def with_chapters(tmp_path: Path, *titles: str) -> Path:
    """A source with a chapter each half second; one with an empty title has none."""
    about = tmp_path / "chapters.txt"
    lines = [";FFMETADATA1"]
    for number, title in enumerate(titles):
        lines += [
            "[CHAPTER]",
            "TIMEBASE=1/1000",
            f"START={500 * number}",
            f"END={500 * number + 500}",
        ]
        lines += [f"title={title}"] if title else []
    about.write_text("\n".join(lines) + "\n")
    plain = write_source(tmp_path / "plain.mkv")
    given = ("-i", str(about), "-map", "0", "-map_chapters", "1", "-c", "copy")
    return add_streams(plain, tmp_path / "s.mkv", *given)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("titles", [("Dawn", "", "Dusk"), ("", "", "")])
def test_chapters_without_a_title_are_kept(
    tmp_path: Path, container: str, titles: tuple[str, ...]
) -> None:
    source = with_chapters(tmp_path, *titles)
    out, report = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(40)), container)
    need("ffprobe")
    found = ffprobe(out, "-show_chapters")["chapters"]
    assert [float(each["start_time"]) for each in found] == [0.0, 0.5, 1.0]
    named = [t or ("" if container == "mkv" else f"Chapter {n}") for n, t in enumerate(titles, 1)]
    assert [each.get("tags", {}).get("title", "") for each in found] == named
    notes = [note for note in report.notes if "without a title" in note]
    assert [str(titles.count("")) in note for note in notes] == (
        [] if container == "mkv" else [True]
    )
    if container != "mkv":
        assert set(named) <= set(mediainfo(out, "Menu")["extra"].values())


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("shown", [False, True])
def test_a_subtitle_is_shown_by_itself_only_if_the_source_says_so(
    tmp_path: Path, container: str, shown: bool
) -> None:
    plain = write_source(tmp_path / "plain.mkv", subtitles=("subrip", "subrip"))
    flags = ("-disposition:s:0", "0", "-disposition:s:1", "default" if shown else "0")
    source = add_streams(plain, tmp_path / "s.mkv", "-map", "0", "-c", "copy", *flags)
    out, _ = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), container)
    need("ffprobe")
    found = ffprobe(out, "-show_streams", "-select_streams", "s")["streams"]
    assert [each["disposition"]["default"] for each in found] == [0, int(shown)]
    if container != "mkv":  # where players show nothing of a track that is not enabled
        others = ffprobe(out, "-show_streams")["streams"][:2]
        assert [each["disposition"]["default"] for each in others] == [1, 1]


def with_cover(tmp_path: Path, plain: Path) -> tuple[Path, bytes]:
    """An MP4 of a source and a cover picture, and the picture."""
    picture = tmp_path / "cover.png"
    Image.new("RGB", (16, 16)).save(picture)
    given = ("-i", str(picture), "-map", "0", "-map", "1", "-c", "copy")
    source = add_streams(plain, tmp_path / "s.mp4", *given, "-disposition:v:1", "attached_pic")
    return source, picture.read_bytes()


def test_a_cover_beside_chapters_loses_no_language(tmp_path: Path) -> None:
    """Chapters are a track of MP4 as well, between the others and the cover."""
    source, _ = with_cover(tmp_path, with_chapters(tmp_path, "Dawn", "Dusk"))
    out, report = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mp4")
    assert report.notes == ()
    with av.open(str(out)) as file:
        kinds = [bool(s.disposition & Disposition.attached_pic) for s in file.streams.video]
        assert kinds == [False, True] and len(file.chapters()) == 2


def test_cover_pictures_are_kept(tmp_path: Path) -> None:
    source, picture = with_cover(tmp_path, write_source(tmp_path / "p.mp4", container="mp4"))
    chunks = write_chunks(
        tmp_path, settings(time_base=Fraction(1, 12800)), [512 * n for n in range(20)]
    )
    for container in CONTAINERS:
        out, report = finish(tmp_path, source, chunks, container)
        with av.open(str(out)) as file:
            covers = [
                s
                for s in file.streams
                if s.type == "video" and s.disposition & Disposition.attached_pic
            ]
            if container == "mov":
                assert not covers and any("cover picture" in note for note in report.notes)
            else:
                assert [bytes(next(file.demux(s))) for s in covers] == [picture]
                assert report.notes == ()


def test_a_cover_that_is_not_what_it_says_is_left_out_of_mp4(tmp_path: Path) -> None:
    """FFmpeg does not read its size then, and MP4's writer refuses it after all else is done."""
    picture = tmp_path / "real.jpg"
    Image.new("RGB", (16, 16)).save(picture)
    given = ("--attachment-mime-type", "image/png", "--attach-file", picture)
    source = tmp_path / "cover.mkv"
    plain = write_source(tmp_path / "p.mkv")
    subprocess.run([need("mkvmerge"), "-q", "-o", source, plain, *given], check=True)
    chunks = write_chunks(tmp_path, settings(), range(20))
    for container in ("mkv", "mp4"):
        out, report = finish(tmp_path, source, chunks, container)
        assert out.exists()
        told = any("is not the PNG that it is said to be" in note for note in report.notes)
        assert told is (container == "mp4")


def test_other_pictures_and_data_are_left_out_with_a_note(tmp_path: Path) -> None:
    plain = write_source(tmp_path / "plain.mp4", container="mp4")
    both = ("-map", "0", "-map", "0:v", "-c", "copy", "-timecode", "01:00:00:00")
    source = add_streams(plain, tmp_path / "s.mov", *both)
    out, report = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mkv")
    assert any(note.startswith("video stream 2") for note in report.notes)
    told = [note for note in report.notes if note.startswith("data stream")]
    assert any("its timecode, 01:00:00:00 at the first picture, is kept" in note for note in told)
    with av.open(str(out)) as file:
        tags = {**file.metadata, **file.streams.video[0].metadata}
    assert {k.lower(): v for k, v in tags.items()}["timecode"] == "01:00:00:00"


def test_flags_that_a_container_cannot_hold_are_named(tmp_path: Path) -> None:
    plain = write_source(tmp_path / "plain.mkv")
    flags = ("-map", "0", "-c", "copy", "-disposition:a:0", "comment+hearing_impaired+forced")
    source = add_streams(plain, tmp_path / "s.mkv", *flags)
    for container in CONTAINERS:
        out, report = finish(
            tmp_path, source, write_chunks(tmp_path, settings(), range(20)), container
        )
        with av.open(str(out)) as file:
            held = file.streams.audio[0].disposition
        for flag, words in (
            (Disposition.comment, "comment"),
            (Disposition.hearing_impaired, "hearing impaired"),
            (Disposition.forced, "forced"),
        ):
            named = any("cannot hold that it is" in n and words in n for n in report.notes)
            assert named != bool(held & flag), (container, words)


@pytest.mark.parametrize("container", CONTAINERS)
def test_transport_stream_sound_loses_its_transport_headers_alone(
    tmp_path: Path, container: str
) -> None:
    source = write_source(tmp_path / "s.ts", container="mpegts")
    assert bytes(packets(source, "audio")[0])[0] == 0xFF  # ADTS
    out, _ = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), container)
    plain = write_source(tmp_path / "same.mkv")
    assert sound_hash(out) == sound_hash(plain)


@pytest.mark.parametrize("container", CONTAINERS)
def test_mpeg_sound_of_broadcasts_passes_the_check(tmp_path: Path, container: str) -> None:
    source = write_source(tmp_path / "s.ts", container="mpegts", sounds=("mp2",))
    out, _ = finish(
        tmp_path, source, write_chunks(tmp_path, settings(), range(20)), container
    )  # which checks it
    assert sound_hash(out) == sound_hash(source)


@pytest.mark.parametrize("container", CONTAINERS)
def test_pcm_sound_is_bit_for_bit(tmp_path: Path, container: str) -> None:
    # Matroska does not say which channels these are, and MP4 wants to know.
    source = write_source(tmp_path / "s.mkv", sounds=("pcm_s16le",))
    out, _ = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), container)
    assert sound_hash(out) == sound_hash(source)
    with av.open(str(out)) as file:
        assert file.streams.audio[0].codec_context.channels == 2


def test_source_without_sound(tmp_path: Path) -> None:
    source = write_source(tmp_path / "s.mkv", sounds=())
    out, report = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mp4")
    assert report.expected.audio == ()
    with av.open(str(out)) as file:
        assert len(file.streams) == 1


@pytest.mark.parametrize(("suffix", "container"), [("mkv", "matroska"), ("mp4", "mp4")])
def test_source_cut_short_gives_what_it_has(tmp_path: Path, suffix: str, container: str) -> None:
    options = {"movflags": "+faststart"} if container == "mp4" else {}
    whole = write_source(tmp_path / f"whole.{suffix}", container=container, options=options)
    source = tmp_path / f"s.{suffix}"
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    out, _ = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mkv")
    kept, all_of_it = (b"".join(bytes(p) for p in packets(path, "audio")) for path in (out, whole))
    assert 0 < len(kept) < len(all_of_it)
    assert all_of_it.startswith(kept)


def test_what_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    source = write_source(tmp_path / "s.mkv", sounds=("libopus",))
    assert plan_streams(source, "mp4", "hevc", 0).copied == (1,)
    with pytest.raises(OutputError, match="MOV cannot hold AV1"):
        plan_streams(source, "mov", "av1", 0)
    with pytest.raises(OutputError, match="'avi' is not known"):
        plan_streams(source, "avi", "hevc", 0)
    with pytest.raises(InputError, match=r"none\.mkv cannot be read"):
        plan_streams(tmp_path / "none.mkv", "mkv", "hevc", 0)


def test_a_stream_of_an_unknown_kind_is_left_out_and_named(tmp_path: Path) -> None:
    source = write_source(tmp_path / "s.avi", container="avi", sounds=("mp2",))
    data = source.read_bytes()
    assert data.count(b"auds") == 1
    source.write_bytes(
        data.replace(b"auds", b"xuds")
    )  # a damaged header: neither video, nor sound, nor text
    plan = plan_streams(source, "mkv", "hevc", 0)
    assert plan.copied == () and any("stream 1" in note for note in plan.notes)


def test_chunks_that_do_not_belong_together_are_refused(tmp_path: Path, plain: Path) -> None:
    first, second = write_chunks(tmp_path, settings(), range(20))
    with pytest.raises(OutputError, match="does not follow"):
        finish(tmp_path, plain, [second, first], "mkv")
    write_chunk(second, settings(crf=31.0), range(10, 20))
    with pytest.raises(OutputError, match="other settings"):
        finish(tmp_path, plain, [first, second], "mkv")
    # Claims the first's settings, but its packets have other parameter sets.
    wider = tmp_path / "wider.chunk"
    write_chunk(wider, settings(width=98), range(10, 20))
    wider.write_bytes(wider.read_bytes().replace(b'"width": 98', b'"width": 96'))
    with pytest.raises(OutputError, match="other parameter sets"):
        finish(tmp_path, plain, [first, wider], "mkv")
    assert not (tmp_path / "out.mkv").exists()


FULL = """
import resource, signal, sys
from pathlib import Path
from sdr2hdr.media.assemble import assemble
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.stream_plan import plan_streams
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
chunks = [Path(sys.argv[1])]
plan = plan_streams(Path(sys.argv[2]), sys.argv[3][-3:], "hevc", 0)
assemble(chunks, Path(sys.argv[2]), Path(sys.argv[3]), plan, mastering=Mastering("p3", 1000), light=ContentLight(1, 1))
"""


@pytest.mark.parametrize("container", CONTAINERS)
def test_full_disk_is_told_and_leaves_nothing(tmp_path: Path, plain: Path, container: str) -> None:
    chunk, out = tmp_path / "a.chunk", tmp_path / f"out.{container}"
    write_chunk(chunk, settings(), range(20))
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(chunk), str(plain), str(out), "9000"],
        capture_output=True,
        text=True,
        check=False,
    )
    last = run.stderr.strip().splitlines()[-1]
    assert (
        "OutputError" in last
        and str(out) in last
        and "File too large" in last
        and "free space" in last
    )
    assert not out.exists()


def test_damaged_sound_is_left_out_and_counted(tmp_path: Path) -> None:
    whole = write_source(tmp_path / "whole.ts", container="mpegts")
    data = bytearray(whole.read_bytes())
    for part in range(5, 10):
        at = len(data) * part // 12
        data[at : at + 300] = bytes(300)
    source = tmp_path / "s.ts"
    source.write_bytes(data)
    out, report = finish(tmp_path, source, write_chunks(tmp_path, settings(), range(20)), "mkv")
    assert report.damaged > 0
    assert any(note.startswith(f"{report.damaged} damaged packets") for note in report.notes)
    intact = {bytes(p)[7:] for p in packets(whole, "audio")}
    kept = [bytes(p) for p in packets(out, "audio")]
    assert len([p for p in kept if p in intact]) > len(intact) // 2
