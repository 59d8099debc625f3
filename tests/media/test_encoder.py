"""Encoding a chunk: what the packets are, when they are shown, and that a chunk file is whole or absent."""

import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
import torch
from hdr10_makers import planes, settings, write_chunk
from judges import ffprobe, need

from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media import hdr10
from sdr2hdr.media.encoder import ChunkEncoder, ChunkReader, EncodeSettings

CODECS = ["hevc", "av1"]


def raw_stream(chunk: Path) -> Path:
    """The chunk's packets as a raw stream that any decoder reads."""
    reader = ChunkReader(chunk)
    raw = chunk.with_suffix(".hevc" if reader.settings.codec == "hevc" else ".obu")
    raw.write_bytes(b"".join(packet.data for packet in reader.packets()))
    return raw


def decode(chunk: Path) -> list[tuple[torch.Tensor, ...]]:
    """The pictures of a chunk, decoded on its own, in display order."""
    with av.open(str(raw_stream(chunk))) as file:
        return [
            tuple(torch.from_dlpack(plane).clone() for plane in frame.planes)
            for frame in file.decode(video=0)
        ]


@pytest.mark.parametrize("codec", CODECS)
def test_signal_is_ten_bit_pq_with_topleft_chroma(tmp_path: Path, codec: str) -> None:
    chunk = tmp_path / "a.chunk"
    write_chunk(chunk, settings(codec, sample_aspect_ratio=Fraction(4, 3)), range(3))
    need("ffprobe")
    stream = ffprobe(raw_stream(chunk), "-show_streams")["streams"][0]
    assert stream["codec_name"] == codec
    assert (stream["width"], stream["height"], stream["pix_fmt"]) == (96, 64, "yuv420p10le")
    assert (stream["color_range"], stream["color_space"]) == ("tv", "bt2020nc")
    assert (stream["color_primaries"], stream["color_transfer"]) == ("bt2020", "smpte2084")
    assert stream["chroma_location"] == "topleft"
    if codec == "hevc":  # AV1 has no sample aspect ratio in its stream
        assert stream["profile"] == "Main 10"
        assert stream["sample_aspect_ratio"] == "4:3"


def test_pictures_as_narrow_as_a_block_give_the_same_packets_each_time(tmp_path: Path) -> None:
    how = settings("hevc", width=64, height=64, preset="medium")
    found = set()
    for number in range(6):
        with ChunkEncoder(tmp_path / f"{number}.chunk", how) as encoder:
            for pts in range(16):
                encoder.encode(planes(pts, 64, 64), pts)
            found.add(encoder.close().sha256)
    assert len(found) == 1


@pytest.mark.parametrize("codec", CODECS)
def test_pictures_come_back_in_order(tmp_path: Path, codec: str) -> None:
    how = settings(codec, crf=8.0, preset={"hevc": "veryfast", "av1": "10"}[codec])
    with ChunkEncoder(tmp_path / "a.chunk", how) as encoder:
        for number in range(12):
            encoder.encode(planes(number), number)
        encoder.close()
    decoded = decode(tmp_path / "a.chunk")
    assert len(decoded) == 12
    given = [planes(number) for number in range(12)]
    for number, picture in enumerate(decoded):
        distance = [
            max(
                (ours.float() - theirs.float()).abs().mean()
                for ours, theirs in zip(one, picture, strict=True)
            )
            for one in given
        ]
        assert (
            min(distance) == distance[number] < 15
        )  # codes of ten bits; a picture and the next are some 60 apart


ODD_TIMES = [
    (Fraction(1, 1000), [0, 42, 83, 125, 167, 208, 250, 292, 333, 375]),
    (Fraction(1, 90000), [5_000_003 + 3003 * n + (n * n) % 700 for n in range(20)]),
    (Fraction(1001, 24000), list(range(100, 130))),
    (Fraction(1, 12800), [-1024, -512, 0, 512, 1024, 9000, 9001, 9002, 50000]),
    (Fraction(1, 1_000_000), [10**12 + 16683 * n for n in range(9)]),
]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("time_base", "pts"), ODD_TIMES)
def test_times_come_back_exactly(
    tmp_path: Path, codec: str, time_base: Fraction, pts: list[int]
) -> None:
    durations = [b - a for a, b in pairwise(pts)] + [777]
    facts = write_chunk(tmp_path / "a.chunk", settings(codec, time_base=time_base), pts, durations)
    reader = ChunkReader(tmp_path / "a.chunk")
    packets = list(reader.packets())
    assert sorted((p.pts, p.duration) for p in packets) == list(zip(pts, durations, strict=True))
    assert reader.settings.time_base == time_base
    assert (facts.frames, facts.first_pts, facts.last_pts) == (len(pts), pts[0], pts[-1])
    assert facts.bytes == (tmp_path / "a.chunk").stat().st_size


@pytest.mark.parametrize("codec", CODECS)
def test_key_frames_are_closed_and_no_farther_apart_than_asked(tmp_path: Path, codec: str) -> None:
    write_chunk(
        tmp_path / "a.chunk",
        settings(codec, keyint=8, preset={"hevc": "medium", "av1": "10"}[codec]),
        range(30),
    )
    packets = list(ChunkReader(tmp_path / "a.chunk").packets())
    assert packets[0].is_key
    keys = [p.pts for p in packets if p.is_key]
    assert len(keys) >= 4
    assert all(b - a <= 8 for a, b in pairwise([*keys, 30]))
    for key in (
        keys
    ):  # nothing decoded after a key frame is shown before it, and nothing before it is shown after
        after = next(n for n, p in enumerate(packets) if p.pts == key)
        assert all(p.pts > key for p in packets[after + 1 :])
        assert all(p.pts < key for p in packets[:after])
    if codec == "hevc":
        kinds = {hdr10.nal_type(n) for p in packets if p.is_key for n in hdr10.split_annexb(p.data)}
        assert {k for k in kinds if 16 <= k <= 23} <= {19, 20}  # IDR pictures: H.265 table 7-1


@pytest.mark.parametrize("codec", CODECS)
def test_parameter_sets_do_not_depend_on_the_pictures(tmp_path: Path, codec: str) -> None:
    how = settings(codec)
    first = write_chunk(tmp_path / "a.chunk", how, range(12))
    other = write_chunk(tmp_path / "b.chunk", how, range(512, 521))
    wider = write_chunk(tmp_path / "c.chunk", settings(codec, width=128), range(3))
    assert first.parameters == other.parameters
    assert first.parameters != wider.parameters
    assert first.sha256 != other.sha256


SCRIPT = """
import os, sys
from fractions import Fraction
from pathlib import Path
if sys.argv[3] == "one":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from hdr10_makers import settings, write_chunk
how = settings(sys.argv[2], width=256, height=144, preset={"hevc": "fast", "av1": "8"}[sys.argv[2]])
print(write_chunk(Path(sys.argv[1]), how, range(24)).sha256)
"""


def in_process(*args: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with the tests' helpers at hand."""
    path = os.pathsep.join(str(Path(__file__).parents[n]) for n in (1, 2))
    return subprocess.run(
        [sys.executable, "-c", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )


@pytest.mark.parametrize("codec", CODECS)
def test_packets_do_not_depend_on_the_machine(tmp_path: Path, codec: str) -> None:
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs a second core to tell")
    runs = [
        in_process(SCRIPT, str(tmp_path / f"{cores}.chunk"), codec, cores)
        for cores in ("one", "all")
    ]
    assert runs[0].stdout == runs[1].stdout != ""
    assert runs[0].stderr == ""  # the encoders say nothing on the terminal


def test_settings_survive_json() -> None:
    how = settings("av1", time_base=Fraction(1001, 24000), sample_aspect_ratio=Fraction(64, 45))
    assert EncodeSettings.from_json(how.to_json()) == how


def test_no_file_without_close_or_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.chunk"
    with ChunkEncoder(path, settings()) as encoder:
        encoder.encode(planes(0), 0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), ChunkEncoder(path, settings()) as encoder:
        encoder.encode(planes(0), 0)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    write_chunk(path, settings(), range(3))
    assert list(tmp_path.iterdir()) == [path]


def test_chunk_cut_short_anywhere_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.chunk"
    write_chunk(path, settings(), range(6))
    data = path.read_bytes()
    for length in (0, 5, 11, 40, len(data) // 2, len(data) - 21, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(OutputError, match="damaged or incomplete"):
            list(ChunkReader(path).packets())
    path.unlink()
    with pytest.raises(OutputError, match="cannot be read"):
        ChunkReader(path)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"codec": "vp9"}, OutputError, "'vp9' is not known"),
        ({"width": 97}, InputError, "97x64"),
        ({"height": 62}, InputError, "at least 64"),
        ({"preset": "fastest"}, OutputError, "'fastest'"),
        ({"crf": 99.0}, OutputError, "crf 99"),
    ],
)
def test_what_cannot_be_encoded_is_refused_in_a_sentence(
    tmp_path: Path, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    how = EncodeSettings.from_json({**settings().to_json(), **changes})
    with pytest.raises(error, match=words):
        ChunkEncoder(tmp_path / "a.chunk", how)
    assert list(tmp_path.iterdir()) == []


def test_wrong_planes_and_times_are_refused(tmp_path: Path) -> None:
    with ChunkEncoder(tmp_path / "a.chunk", settings()) as encoder:
        with pytest.raises(ValueError, match="96x64 yuv420p10"):
            encoder.encode(planes(0, 128, 64), 0)
        encoder.encode(planes(0), 5)
        with pytest.raises(ValueError, match="does not follow"):
            encoder.encode(planes(1), 5)


FULL = """
import resource, signal, sys
from pathlib import Path
from hdr10_makers import settings, write_chunk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
write_chunk(Path(sys.argv[1]), settings(crf=1.0, width=256, height=144), range(20))
"""


def test_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    run = in_process(FULL, str(tmp_path / "a.chunk"))
    last = run.stderr.strip().splitlines()[-1]
    assert (
        "OutputError" in last
        and "a.chunk.part cannot be written (File too large)" in last
        and "free space" in last
    )
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        ChunkEncoder(tmp_path / "missing" / "a.chunk", settings())


def test_no_encoder_leaves_real_time_threads_behind(tmp_path: Path) -> None:
    for codec, preset in (("hevc", "ultrafast"), ("av1", "12")):
        settings = EncodeSettings(codec, 40, preset, 64, 64, Fraction(1, 25), Fraction(25))
        with ChunkEncoder(tmp_path / codec, settings):
            tasks = Path("/proc/self/task").iterdir()
            assert {os.sched_getscheduler(int(t.name)) for t in tasks} == {os.SCHED_OTHER}
