"""Hardware encoders and decoders: there is none here, so stand-ins at PyAV's border tell what the rest makes of one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest
import torch
from hdr10_makers import planes, settings
from judges import ffprobe
from media_makers import make_clip

from sdr2hdr import convert
from sdr2hdr.codecs import CODECS, software
from sdr2hdr.errors import UsageError
from sdr2hdr.jobs.encoding import usable
from sdr2hdr.media import encoder as encoder_module
from sdr2hdr.media import hdr10
from sdr2hdr.media.encoder import ChunkEncoder, ChunkReader, EncoderGone, has_encoder
from sdr2hdr.media.encoders import ENCODERS
from sdr2hdr.media.source import Source
from sdr2hdr.media.trial import decoding_device, try_hardware
from sdr2hdr.options import Options

SOUND = {"preset": "ultrafast", "crf": "20", "chroma_sample_location": "topleft"}
PARAMS = "repeat-headers=1:info=0:open-gop=0:log-level=none:frame-threads=1:hdr10=1:hdr10-opt=1"
NVENC = settings(encoder="nvenc", preset="p5", crf=20.0)


def test_the_options_words_are_those_of_the_table() -> None:
    assert {(name, word) for name, codec in CODECS.items() for word in codec.encoders} == set(
        ENCODERS
    )
    for codec in CODECS:
        assert software(codec) == Options(codec=codec).writer
        assert not ENCODERS[codec, software(codec)].hardware
    with pytest.raises(UsageError, match="Encoder svtav1 does not write hevc; give --codec av1"):
        Options(encoder="svtav1")


@pytest.mark.parametrize(("codec", "word"), ENCODERS)
def test_an_encoder_knows_every_option_that_it_is_told(codec: str, word: str) -> None:
    """FFmpeg passes over options that it does not know without a word."""
    writer = ENCODERS[codec, word]
    if not has_encoder(writer.name):
        pytest.skip(f"{writer.name} is not in this PyAV")
    context = av.CodecContext.create(writer.name, "w")
    known = {
        o.name: o for o in (*context.supported_options.generic, *context.supported_options.private)
    }
    offered = CODECS[codec].encoders[word]
    told = writer.told(settings(codec, pix_fmt=offered.formats[0]))
    told |= {"preset": offered.preset} if offered.preset else {}
    for name, value in told.items():
        assert name in known, name
        choices = {choice.name for choice in known[name].choices}
        number = value.lstrip("-").replace(".", "", 1).isdigit()
        assert number or not choices or value.lstrip("+") in choices, (name, value)
    taken = {writer.form} if writer.form else {f"{name}le" for name in offered.formats}
    assert taken <= {form.name for form in av.codec.Codec(writer.name, "w").video_formats or ()}


class Gpu:
    """What PyAV gives for ``hevc_nvenc`` where there is one: x265 behind it, which may do things wrong."""

    inner: Any
    wrong: dict[str, Any]
    lives: int
    seen: list[int]

    def __init__(self, lives: int, **wrong: Any) -> None:
        seen: list[int] = []
        own = {"inner": REAL("libx265", "w"), "wrong": wrong, "lives": lives, "seen": seen}
        vars(self).update(own)  # all that is set after this goes to x265

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "pix_fmt":
            assert value == "p010le"
            value = "yuv420p10le"
        if name == "options":
            assert value["profile"] == "main10" and "x265-params" not in value
            params = PARAMS + ":" + self.wrong.get("params", "")
            value = SOUND | {"x265-params": params}
        setattr(self.inner, name, self.wrong.get(name, value))

    def open(self) -> None:
        self.inner.open()

    def encode(self, frame: av.VideoFrame | None) -> list[Any]:
        if frame is not None:
            self.seen.append(frame.pts)
            assert frame.format.name == "p010le"
            if len(self.seen) > self.lives:
                raise av.error.ExternalError(1, "the driver has gone")
            if self.wrong.get("drops") and frame.pts == 5:
                return []
            back = frame.reformat(format="yuv420p10le")
            back.pts, back.time_base = frame.pts, frame.time_base
            frame = back
        made = self.inner.encode(frame)
        return [self.bare(p) if self.wrong.get("bare") and p.is_keyframe else p for p in made]

    def bare(self, packet: Any) -> Any:
        """A key frame without parameter sets, but for the first one."""
        nals = hdr10.split_annexb(bytes(packet))
        kept = [n for n in nals if packet.pts == 0 or hdr10.nal_type(n) not in (32, 33, 34)]
        out = av.Packet(b"".join(b"\0\0\0\1" + n for n in kept))
        out.pts, out.is_keyframe = packet.pts, True
        return out


REAL: Any = av.CodecContext.create


class Border:
    """Stands in for PyAV's codec contexts in the encoder's module."""

    def __init__(self, gpu: Callable[[], Gpu] | None) -> None:
        self.gpu = gpu

    def create(self, name: str, mode: str) -> Any:
        return self.gpu() if self.gpu is not None and name == "hevc_nvenc" else REAL(name, mode)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine whose GPU encodes, ``lives`` pictures long in each encoder but the first ones, which are trials."""

    def make(lives: int = 1 << 30, trials: int = 0, **wrong: Any) -> None:
        opened: list[Gpu] = []

        def gpu() -> Gpu:
            opened.append(Gpu(lives if len(opened) >= trials else 1 << 30, **wrong))
            return opened[-1]

        class Module:
            CodecContext = Border(gpu)

            def __getattr__(self, name: str) -> Any:
                return getattr(av, name)

        monkeypatch.setattr(encoder_module, "av", Module())

    return make


def test_a_trial_passes_what_a_file_needs(machine: Callable[..., None]) -> None:
    machine()
    try_hardware(NVENC)
    assert usable(NVENC, None) == (NVENC, ())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"drops": True}, "lost pictures"),
        ({"gop_size": 100}, "key frames where"),
        ({"bare": True}, "repeat its parameter sets"),
        ({"color_trc": 1}, "tags its pictures with"),
        (
            {"params": "open-gop=1:bframes=4:keyint=4:min-keyint=1:b-adapt=0"},
            "groups of pictures open",
        ),
        ({"lives": 3}, "failed in the middle"),
    ],
)
def test_a_trial_refuses_an_encoder_that_does_not_do_what_hdr10_needs(
    machine: Callable[..., None], wrong: dict[str, Any], said: str
) -> None:
    machine(**wrong)
    with pytest.raises(EncoderGone, match=said):
        try_hardware(NVENC)
    instead, notes = usable(NVENC, None)
    assert (
        instead.writer.name == "libx265"
        and "libx265 encodes the film with preset medium" in notes[0]
    )


def test_samples_reach_the_gpu_as_they_are(machine: Callable[..., None], tmp_path: Path) -> None:
    machine(params="lossless=1")
    with ChunkEncoder(tmp_path / "a.chunk", NVENC) as writer:
        writer.encode(planes(7), 0)
        writer.close()
    (packet,) = ChunkReader(tmp_path / "a.chunk").packets()
    decoder: Any = REAL("hevc", "r")
    frame: Any = [*decoder.decode(av.Packet(packet.data)), *decoder.decode(None)][0]
    for found, given in zip(frame.planes, planes(7), strict=True):
        assert torch.equal(torch.from_dlpack(found), given)


HOW: dict[str, Any] = {"model": "bt2446a", "encoder": "nvenc", "chunk_frames": 8, "device": "cpu"}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "in.mkv", size=(96, 64), frames=24)


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(p) for p in file.demux(video=0)]


def test_a_film_is_encoded_on_the_gpu_and_is_hdr10(
    clip: Path, tmp_path: Path, machine: Callable[..., None]
) -> None:
    machine()
    report = convert(clip, tmp_path / "out.mp4", **HOW)
    assert report.encoder == "hevc_nvenc" and not report.notes and report.chunks == 3
    found = ffprobe(tmp_path / "out.mp4", "-show_streams", "-show_frames")
    light = [d["max_content"] for d in found["frames"][0]["side_data_list"] if "max_content" in d]
    assert light == [report.max_cll]


def test_without_the_hardware_software_takes_over_and_goes_on_so(
    clip: Path, tmp_path: Path, machine: Callable[..., None]
) -> None:
    if not has_encoder("hevc_nvenc"):
        pytest.skip("this PyAV has no NVENC")
    out, notes = tmp_path / "out.mkv", []
    report = convert(
        clip,
        out,
        **HOW,
        keep_work=True,
        progress=lambda p: notes.append(p.note) if p.note else None,
    )
    assert report.encoder == "libx265" and report.notes == (notes[0],)
    assert notes[0].startswith("hevc_nvenc does not open here (")
    plain = convert(clip, tmp_path / "plain.mkv", **HOW | {"encoder": "auto"})
    assert plain.encoder == "libx265" and packets(out) == packets(tmp_path / "plain.mkv")
    machine()  # the driver is there again: the film stays with the encoder it was begun with
    again = convert(clip, out, **HOW, keep_work=True, overwrite=True)
    assert again.resumed_chunks == again.chunks and "was begun with libx265" in again.notes[0]


@pytest.mark.parametrize("lives", [3, 7])
def test_an_encoder_that_disappears_in_the_middle_ends_right_in_software(
    clip: Path, tmp_path: Path, machine: Callable[..., None], lives: int
) -> None:
    machine(lives=lives, trials=1)
    report = convert(clip, tmp_path / "out.mkv", **HOW)
    assert report.encoder == "libx265" and len(report.notes) == 1
    assert "hevc_nvenc failed in the middle" in report.notes[0]
    plain = convert(clip, tmp_path / "plain.mkv", **HOW | {"encoder": "auto"})
    assert plain.chunks == report.chunks
    assert packets(tmp_path / "out.mkv") == packets(tmp_path / "plain.mkv")


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A machine that decodes on the GPU the first ``times`` a file is opened, and then fails to open there."""

    def make(times: int) -> list[str]:
        real, used = av.open, list[str]()

        def open_here(*args: Any, hwaccel: Any = None, **named: Any) -> Any:
            if hwaccel is not None:
                if len(used) >= times:
                    raise av.error.PermissionError(1, "Operation not permitted")
                used.append("gpu")
            return real(*args, **named)

        monkeypatch.setattr(av, "open", open_here)
        for room in ("trial", "source"):
            monkeypatch.setattr(f"sdr2hdr.media.{room}.is_accelerated", lambda _: True)
        return used

    return make


def seen(source: Source) -> list[tuple[int, bytes]]:
    return [(p.pts, b"".join(np.asarray(x).tobytes() for x in p.planes)) for p in source.pictures()]


@pytest.mark.parametrize("times", [0, 1, 100])
def test_pictures_are_those_of_software_wherever_they_are_decoded(
    clip: Path, decoder: Callable[..., list[str]], times: int
) -> None:
    """With 1 the hardware passes its trial and has gone when the film is read."""
    truth = seen(Source(clip))
    used = decoder(times)
    source = Source(clip, hardware=True)
    assert seen(source) == truth
    assert bool(used) == (times > 0)
    told = [note for note in source.notes if "decoded in software" in note]
    assert len(told) == (times == 0)


def test_a_decoder_that_gives_other_pictures_is_not_used(
    clip: Path, decoder: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = decoder(100)
    read: list[int] = []

    def otherwise(frames: Any) -> Any:
        read.append(1)
        yield (len(read),)

    monkeypatch.setattr("sdr2hdr.media.trial._decoded", otherwise)
    assert decoding_device(clip) is None and used
