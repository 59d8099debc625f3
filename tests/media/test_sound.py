"""Sound keeps its times and is heard as a player of the source plays it; what cannot be carried is left out and named."""

import json
import os
import struct
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from hdr10_makers import settings, write_chunks
from judges import ffprobe, need
from sound_makers import PICTURE, STEPS, cut_by_edits, heard, pitch, run_ffmpeg, write_film

from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.assemble import AssembleReport, assemble
from sdr2hdr.media.check import check
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.stream_plan import StreamChoice, plan_streams

CONTAINERS = ["mkv", "mp4", "mov"]
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2")


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A second of picture, for any source."""
    return write_chunks(tmp_path_factory.mktemp("chunks"), settings(), range(25))


def carry(
    source: Path, chunks: list[Path], container: str, choice: StreamChoice = StreamChoice()
) -> tuple[Path, AssembleReport]:
    """Assembles and checks."""
    out = source.parent / f"{source.stem}-out.{container}"
    plan = plan_streams(source, container, "hevc", 0, choice)
    report = assemble(
        chunks, source, out, plan, mastering=Mastering("bt2020", 1000), light=ContentLight(9, 3)
    )
    check(out, report.expected)
    return out, report


def times(path: Path, kind: str = "a:0") -> list[float]:
    """Packet times by ffprobe."""
    return [
        float(p["pts_time"])
        for p in ffprobe(path, "-show_packets", "-select_streams", kind)["packets"]
    ]


def codecs(path: Path) -> list[str]:
    """ffprobe's codec names."""
    return [s["codec_name"] for s in ffprobe(path, "-show_streams")["streams"]]


def packet_bytes(path: Path, number: int = 0) -> bytes:
    """All packets of a sound."""
    with av.open(str(path)) as file:
        return b"".join(bytes(p) for p in file.demux(audio=number))


def test_packets_that_share_a_time_keep_it(tmp_path: Path, chunks: list[Path]) -> None:
    # 1200 packets a second in steps of a millisecond, as all TrueHD in Matroska has them
    source = write_film(tmp_path / "s.mkv", *X264, "-c:a", "truehd", "-strict", "-2", "-t", "2")
    out, _ = carry(source, chunks, "mkv")
    assert times(out) == times(source)
    assert times(out)[-1] == pytest.approx(1.999, abs=0.001)
    assert float(ffprobe(out, "-show_format")["format"]["duration"]) == pytest.approx(2, abs=0.002)


def test_a_last_packet_of_no_stated_length_is_played(tmp_path: Path, chunks: list[Path]) -> None:
    source = write_film(
        tmp_path / "s.nut", "-c:v", "mpeg4", "-c:a", "dca", "-strict", "-2", "-t", "1"
    )
    with av.open(str(source)) as file:
        assert not any(packet.duration for packet in file.demux(audio=0))
    out, _ = carry(source, chunks, "mp4")
    assert np.array_equal(heard(out)[0], heard(source)[0])


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    "edits", [[(1.5, 3.0)], [(0.0, 2.0)], [(0.25, 1.0), (2.25, 3.75)], [(3.0, 3.5), (1.0, 1.5)]]
)
def test_only_what_an_edit_list_keeps_is_heard(
    tmp_path: Path, chunks: list[Path], container: str, edits: list[tuple[float, float]]
) -> None:
    whole = write_film(
        tmp_path / "whole.mp4", *X264, "-c:a", "aac", "-b:a", "64k", "-aac_pns", "0"
    )  # no random noise
    source = cut_by_edits(whole, tmp_path / "s.mp4", edits)
    out, report = carry(source, chunks, container)
    assert not any("does not decode" in note for note in report.notes)
    (theirs, start), (ours, begin) = heard(source), heard(out)
    assert len(ours) == len(theirs)  # to the sample, as FFmpeg plays the source
    assert len(ours) / 48000 == pytest.approx(sum(b - a for a, b in edits), abs=0.035)
    assert begin == pytest.approx(start, abs=0.001)
    at = 0.0
    for first, last in edits:  # the pitch says which second of the recording it is
        middle = ours[
            round((at + 0.05) * 48000) : round((at + min(last - first, 0.5) - 0.05) * 48000)
        ]
        assert pitch(middle) == pytest.approx(400 + 200 * int(first), abs=8) or first % 1 > 0.5
        at += last - first
    if len(edits) == 1:
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("codec", ["libmp3lame", "ac3", "alac", "libopus"])
def test_a_cut_of_any_codec_is_carried(tmp_path: Path, chunks: list[Path], codec: str) -> None:
    whole = write_film(tmp_path / "whole.mp4", *X264, "-c:a", codec)
    source = cut_by_edits(whole, tmp_path / "s.mp4", [(1.5, 3.0)])
    for container in ("mkv", "mp4"):
        out, report = carry(source, chunks, container)
        assert report.notes == ()
        assert len(heard(out)[0]) == len(heard(source)[0])
        assert pitch(heard(out)[0][2400:21600]) == pytest.approx(600, abs=8)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("late", ["0", "0.01", "0.5"])
@pytest.mark.parametrize("rate", ["48000", "8000"])
def test_priming_is_kept_and_never_heard(
    tmp_path: Path, chunks: list[Path], container: str, late: str, rate: str
) -> None:
    # an MP4's edit list hides the encoder's first 1024 samples: 21 or 128 ms
    source = run_ffmpeg(
        tmp_path / "s.mp4", *PICTURE, "-itsoffset", late, *STEPS, *X264, "-c:a", "aac", "-ar", rate, "-t", "2"
    )  # fmt: skip
    out, report = carry(source, chunks, container)
    assert report.notes == ()
    (theirs, start), (ours, begin) = heard(source), heard(out)
    assert begin == pytest.approx(start, abs=0.001)
    assert len(ours) == len(theirs)
    assert np.array_equal(ours, theirs) or (container != "mkv" and late == "0.01")
    assert times(out, "v:0")[0] == 0
    if container == "mkv":
        for block in block_times(out):
            assert block >= 0


def block_times(path: Path) -> list[float]:
    """The times that the blocks of a Matroska file have, by mkvinfo."""
    text = subprocess.run(
        [need("mkvinfo"), "-v", "-v", str(path)], capture_output=True, check=True, text=True
    ).stdout
    lines = [
        line.split("timestamp ")[1].split()[0]
        for line in text.splitlines()
        if "lock: " in line and "track" in line
    ]
    assert lines
    return [
        -1.0 if line.startswith("-") else float(line.split(":")[-1].rstrip(",")) for line in lines
    ]


def test_a_stream_without_a_decoder_is_left_out_and_named(
    tmp_path: Path, chunks: list[Path]
) -> None:
    # an iPhone's spatial sound beside its AAC
    source = write_film(tmp_path / "s.mov", *X264, "-c:a", "aac", "-t", "1", sounds=2)
    data = source.read_bytes()
    at = data.rindex(b"stsd") + 16  # the last track's sample entry
    data = data[:at] + b"apac" + data[at + 4 :]
    at = data.rindex(b"esds")
    source.write_bytes(data[:at] + b"dapa" + data[at + 4 :])
    for container in CONTAINERS:
        out, report = carry(source, chunks, container)
        assert codecs(out) == ["hevc", "aac"]
        assert report.notes == ("audio stream 2 (apac) left out: no decoder for it is known here",)
    with pytest.raises(OutputError, match=r"audio stream 2 \(apac\) left out: .*--strict-streams"):
        plan_streams(source, "mkv", "hevc", 0, StreamChoice(strict=True))


@pytest.mark.parametrize("container", CONTAINERS)
def test_latm_is_unwrapped(tmp_path: Path, chunks: list[Path], container: str) -> None:
    source = write_film(tmp_path / "s.ts", *X264, "-c:a", "aac", "-mpegts_flags", "latm", "-t", "2")
    assert codecs(source)[1] == "aac_latm"
    out, report = carry(source, chunks, container)
    assert report.notes == () and codecs(out) == ["hevc", "aac"]
    (theirs, start), (ours, begin) = heard(source), heard(out)
    assert np.array_equal(ours, theirs)
    assert begin == pytest.approx(start, abs=0.001)


@pytest.mark.parametrize(
    ("name", "video", "codec"),
    [("s.wmv", "wmv2", "wmav2"), ("s.avi", "msmpeg4", "adpcm_ms"), ("s.avi", "mpeg4", "adpcm_ima_wav"),
     ("s.mov", "mpeg4", "pcm_mulaw"), ("s.mov", "mpeg4", "pcm_alaw")],
)  # fmt: skip
def test_matroska_holds_what_a_waveformat_describes(
    tmp_path: Path, chunks: list[Path], name: str, video: str, codec: str
) -> None:
    source = write_film(tmp_path / name, "-c:v", video, "-c:a", codec, "-t", "2")
    out, report = carry(source, chunks, "mkv")
    assert report.notes == () and codecs(out) == ["hevc", codec]
    assert packet_bytes(out) == packet_bytes(source)
    copied = run_ffmpeg(tmp_path / "ffmpeg.mkv", "-i", str(source), "-map", "0:a", "-c", "copy")
    assert np.array_equal(heard(out)[0], heard(copied)[0])
    facts = json.loads(
        subprocess.run([need("mkvmerge"), "-J", str(out)], capture_output=True, check=True).stdout
    )
    assert facts["warnings"] == facts["errors"] == []
    assert facts["tracks"][1]["properties"]["codec_id"] == "A_MS/ACM"


def test_sounds_without_packets_are_left_out_and_named(tmp_path: Path, chunks: list[Path]) -> None:
    # a programme's second language, declared and silent: its packets (PID 258) become padding (PID 8191)
    whole = write_film(tmp_path / "whole.ts", *X264, "-c:a", "mp2", "-t", "2", sounds=2)
    data = bytearray(whole.read_bytes())
    for at in range(0, len(data), 188):
        (word,) = struct.unpack_from(">H", data, at + 1)
        if word & 0x1FFF == 258:
            struct.pack_into(">H", data, at + 1, word | 0x1FFF)
    source = tmp_path / "s.ts"
    source.write_bytes(data)
    _, report = carry(source, chunks, "mkv")
    assert len(report.expected.audio) == 1
    assert "audio stream 2 (mp3) left out: it has no packets" in report.notes


def test_a_declared_sound_without_packets_is_known_before_the_work(
    tmp_path: Path, chunks: list[Path]
) -> None:
    source = run_ffmpeg(
        tmp_path / "s.mkv", *PICTURE, "-f", "lavfi", "-i", "anullsrc=d=0.001", "-map", "0", "-map", "1", *X264,
        "-c:a", "aac", "-bsf:a", "noise=drop=1", "-t", "1",
    )  # fmt: skip
    for container in CONTAINERS:
        plan = plan_streams(source, container, "hevc", 0)
        assert plan.notes == ("audio stream 1 (aac) left out: it has no packets",)
        carry(source, chunks, container)


def test_a_sound_that_begins_late_in_a_program_stream_is_found(tmp_path: Path) -> None:
    # beyond the 5 MB and 5 s that FFmpeg looks at unless it is told otherwise
    source = run_ffmpeg(
        tmp_path / "s.vob", "-f", "lavfi", "-i", "color=s=720x480:r=10:d=9,noise=alls=100:allf=t",
        "-f", "lavfi", "-i", "sine=f=440:d=9", "-itsoffset", "7", "-f", "lavfi", "-i", "sine=f=880:d=2",
        "-map", "0", "-map", "1", "-map", "2", "-c:v", "mpeg2video", "-q:v", "2", "-c:a", "ac3", "-f", "vob",
    )  # fmt: skip
    assert source.stat().st_size > 5_500_000
    assert len(plan_streams(source, "mkv", "hevc", 0).copied) == 2


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("codec", ["pcm_bluray", "pcm_dvd"])
def test_pcm_of_discs_is_repacked_without_loss(
    tmp_path: Path, chunks: list[Path], container: str, codec: str
) -> None:
    name = {"pcm_bluray": "s.m2ts", "pcm_dvd": "s.vob"}[codec]
    source = write_film(tmp_path / name, "-c:v", "mpeg2video", "-c:a", codec, "-t", "2")
    out, report = carry(source, chunks, container)
    assert any(f"({codec}) repacked as pcm_" in note for note in report.notes), report.notes
    assert np.array_equal(heard(out)[0], heard(source)[0])


@pytest.mark.parametrize(("audio", "container"), [("aac", "mov"), ("flac", "mp4"), ("opus", "mp4")])
def test_what_cannot_be_copied_is_encoded_if_that_is_asked_for(
    tmp_path: Path, chunks: list[Path], audio: str, container: str
) -> None:
    codec = "libopus" if container == "mov" else "truehd"
    source = write_film(tmp_path / "s.mkv", *X264, "-c:a", codec, "-strict", "-2", "-t", "3")
    out, report = carry(source, chunks, container, StreamChoice(audio=audio))
    assert codecs(out)[1] == audio and any("converted to" in note for note in report.notes)
    ours, start = heard(out)
    assert start == pytest.approx(0, abs=0.001) and len(ours) / 48000 == pytest.approx(3, abs=0.1)
    assert [round(pitch(ours[48000 * n + 4800 :][:38400]), -1) for n in range(3)] == [400, 600, 800]
    plan = plan_streams(source, container, "hevc", 0)
    assert plan.copied == () and "left out" in plan.notes[0] and "--audio" in plan.notes[0]


def test_a_sound_in_a_codec_that_the_container_cannot_hold_is_refused_if_it_is_asked_for(
    tmp_path: Path,
) -> None:
    source = write_film(tmp_path / "s.mkv", *X264, "-c:a", "libopus", "-t", "1")
    with pytest.raises(
        OutputError, match=r"MOV cannot hold audio stream 1 \(opus\) as flac; choose --audio aac"
    ):
        plan_streams(source, "mov", "hevc", 0, StreamChoice(audio="flac"))


def test_tracks_are_chosen_by_number_and_language(tmp_path: Path, chunks: list[Path]) -> None:
    source = write_film(
        tmp_path / "s.mkv", *X264, "-c:a", "aac", "-t", "1", "-metadata:s:a:0", "language=eng",
        "-metadata:s:a:1", "language=deu", "-metadata:s:a:2", "language=fra", sounds=3,
    )  # fmt: skip

    def kept(**choice: object) -> tuple[int, ...]:
        return plan_streams(source, "mkv", "hevc", 0, StreamChoice(**choice)).copied  # type: ignore[arg-type]

    assert kept() == (1, 2, 3)
    assert kept(audio_tracks=("2",)) == kept(audio_tracks=("deu",)) == (2,)
    assert kept(audio_tracks=("fra", "1")) == (1, 3)
    assert kept(silent=True) == () == kept(silent=True, strict=True)
    for wrong in ("4", "0", "ita"):
        with pytest.raises(
            InputError, match=rf"no track '{wrong}' for --audio-track; it has 1 \(eng\), 2 \(deu\)"
        ):
            kept(audio_tracks=(wrong,))
    with pytest.raises(InputError, match="for --subtitle-track; leave it out"):
        kept(subtitle_tracks=("1",))
    out, report = carry(source, chunks, "mkv", StreamChoice(audio_tracks=("deu",)))
    assert report.notes == (
        "audio stream 1 (aac) left out: it was not asked for",
        "audio stream 3 (aac) left out: it was not asked for",
    )
    assert (
        ffprobe(out, "-show_streams", "-select_streams", "a")["streams"][0]["tags"]["language"]
        == "deu"
    )


def test_seeking_lands_on_the_right_picture(tmp_path: Path, chunks: list[Path]) -> None:
    source = write_film(tmp_path / "s.mp4", *X264, "-c:a", "aac", "-t", "1")
    out, _ = carry(source, chunks, "mkv")

    def pictures(*seek: str) -> list[str]:
        words = [
            need("ffmpeg"),
            "-v",
            "error",
            *seek,
            "-i",
            str(out),
            "-map",
            "0:v",
            "-f",
            "framemd5",
            "-",
        ]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        return [line.split(",")[-1] for line in text.splitlines() if not line.startswith("#")]

    whole = pictures()
    for number in (0, 7, 8, 19):
        assert pictures("-ss", str(number / 25)) == whole[number:]


VLC = ["-vv", "--no-interact", "--vout", "vdummy", "--aout", "afile", "--play-and-exit"]


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_vlc_plays_picture_and_sound(tmp_path: Path, codec: str) -> None:
    vlc = need("cvlc")
    # VLC 3 plays neither where the first packet of a Matroska file lies before 0, as priming can
    source = run_ffmpeg(
        tmp_path / "s.mp4", *PICTURE, *STEPS, *X264, "-c:a", "aac", "-ar", "8000", "-t", "2"
    )
    chunks = write_chunks(tmp_path, settings(codec), range(50))
    out, _ = carry(source, chunks, "mkv")
    user = []
    if os.geteuid() == 0:  # VLC refuses root
        user = [need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]
        tmp_path.chmod(0o777)
        for folder in tmp_path.parents[:3]:
            folder.chmod(folder.stat().st_mode | 0o055)
    wave = tmp_path / "a.wav"
    played = subprocess.run(
        [*user, "env", f"HOME={tmp_path}", vlc, *VLC, "--audiofile-file", str(wave), str(out), "vlc://quit"],
        capture_output=True, text=True, errors="replace", timeout=60, check=False,
    )  # fmt: skip
    assert "Received first picture" in played.stderr
    assert wave.stat().st_size > 2 * 8000 * 2 * 0.9


@pytest.mark.parametrize("container", CONTAINERS)
def test_eac3_that_its_container_calls_ac3_is_copied_under_its_own_name(
    tmp_path: Path, chunks: list[Path], container: str
) -> None:
    film = write_film(tmp_path / "film.nut", "-c:v", "mpeg4", "-c:a", "eac3", "-t", "1")
    out, report = carry(film, chunks, container)
    assert codecs(out) == ["hevc", "eac3"]
    assert packet_bytes(out) == packet_bytes(film)
    assert not report.notes


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_a_sound_before_0_moves_the_picture_by_whole_steps(
    tmp_path: Path, chunks: list[Path], container: str
) -> None:
    film = write_film(tmp_path / "film.mov", "-c:v", "mpeg4", "-c:a", "libvorbis", "-t", "1")
    _, report = carry(film, chunks, container)  # which checks the time of each picture
    assert any("later: players show nothing before 0" in note for note in report.notes)


def test_adpcm_of_nut_which_keeps_no_block_size_is_heard(
    tmp_path: Path, chunks: list[Path]
) -> None:
    film = write_film(tmp_path / "film.nut", "-c:v", "mpeg4", "-c:a", "adpcm_ms", "-t", "1")
    out, _ = carry(film, chunks, "mkv")
    np.testing.assert_array_equal(heard(out)[0], heard(film)[0])
