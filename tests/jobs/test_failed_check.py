"""A file that fails its check is not delivered; what took long to make is kept, and is said. A sound refuses no film."""

from pathlib import Path
from typing import NoReturn

import av
import pytest
from media_makers import make_clip
from sound_makers import run_ffmpeg, write_film

from sdr2hdr import convert
from sdr2hdr.errors import OutputError
from sdr2hdr.jobs import finishing


def test_a_failed_check_removes_the_file_and_keeps_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mkv", size=(96, 64), frames=4)
    out = tmp_path / "out.mkv"

    def refuse(path: Path, _expected: object, **_: object) -> NoReturn:
        raise OutputError(
            f"The finished file {path} fails its check: sound stream 0 ends at 2 s, not at 1 s."
        )

    with monkeypatch.context() as patched:
        patched.setattr(finishing, "check", refuse)
        with pytest.raises(
            OutputError, match=r"ends at 2 s.* It was removed; .* are kept in (\S+), and the same"
        ) as error:
            convert(clip, out, "bt2408", preset="ultrafast")
    folder = next(path for path in tmp_path.iterdir() if path not in (clip, out))
    assert str(folder) in str(error.value) and not out.exists()
    assert not list(folder.glob("assembled*"))
    assert convert(clip, out, "bt2408", preset="ultrafast").resumed_chunks == 1
    assert sorted(tmp_path.iterdir()) == [clip, out]


SPEEX_AND_AAC = (
    "-c:v",
    "mpeg4",
    "-c:a:0",
    "libspeex",
    "-ar:a:0",
    "16000",
    "-c:a:1",
    "aac",
    "-t",
    "1",
)


def test_a_sound_that_fails_its_check_is_left_out_and_named(tmp_path: Path) -> None:
    # The edit list of a MOV ends within the last packet of Speex, and Matroska cannot say so of Speex.
    film = write_film(tmp_path / "film.mov", *SPEEX_AND_AAC, sounds=2)
    out = tmp_path / "out.mkv"
    report = convert(film, out, "bt2408", preset="ultrafast")
    with av.open(str(out)) as made:
        assert [stream.codec_context.name for stream in made.streams.audio] == ["aac"]
        assert sum(packet.size > 0 for packet in made.demux(video=0)) == 25
    notes = [note for note in report.notes if "left out" in note]
    assert len(notes) == 1
    assert notes[0].startswith(
        "audio stream 1 (speex) left out: read back from the MKV file, it is "
    )
    assert sorted(tmp_path.iterdir()) == [film, out]


def test_strict_streams_refuse_a_sound_that_fails_its_check(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mov", *SPEEX_AND_AAC, sounds=2)
    with pytest.raises(OutputError, match=r"sound stream 0 is .* samples long"):
        convert(film, tmp_path / "out.mkv", "bt2408", preset="ultrafast", strict_streams=True)
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_a_subtitle_stream_without_a_line_is_left_out_and_named(tmp_path: Path, kind: str) -> None:
    lines = tmp_path / "lines.srt"
    lines.write_text("1\n00:00:00,200 --> 00:00:00,900\none\n")
    film = run_ffmpeg(  # ffmpeg calls SRT a DVD's subtitle here, of which no picture can be read
        tmp_path / "film.vob", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=1", "-i", str(lines),
        "-map", "0", "-map", "1", "-c:v", "mpeg2video", "-c:s", "srt",
    )  # fmt: skip
    out = tmp_path / f"out.{kind}"
    report = convert(film, out, "bt2408", preset="ultrafast")
    assert [note for note in report.notes if "left out" in note] == [
        "subtitle stream 1 (dvd_subtitle) left out: nothing in it can be read"
    ]
    with av.open(str(out)) as made:
        assert not made.streams.subtitles


def test_a_subtitle_stream_that_is_left_out_is_not_called_converted(tmp_path: Path) -> None:
    lines = tmp_path / "lines.srt"
    lines.write_text("1\n00:00:05,000 --> 00:00:06,000\nafter the end\n")
    film = run_ffmpeg(
        tmp_path / "film.mkv", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=1", "-i", str(lines),
        "-map", "0", "-map", "1", "-t", "1",
    )  # fmt: skip
    report = convert(film, tmp_path / "out.mp4", "bt2408", preset="ultrafast")
    assert [note for note in report.notes if "subtitle stream" in note] == [
        "subtitle stream 1 (ass) left out: nothing in it can be read"
    ]
