"""Small pictures, chunks and sources for the tests of writing."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream

from sdr2hdr.codecs import CODECS, software
from sdr2hdr.color.yuv import PIXEL_FORMATS, YuvLayout
from sdr2hdr.media.encoder import ChunkEncoder, ChunkFacts, EncodeSettings

Planes = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
PRESETS = {"hevc": "ultrafast", "av1": "12"}
"""Of other codecs none: they have none."""


def settings(codec: str = "hevc", **changes: object) -> EncodeSettings:
    """Fast settings for small pictures."""
    values: dict[str, object] = {
        "codec": codec,
        "crf": 30.0,
        "preset": PRESETS.get(codec, ""),
        "width": 96,
        "height": 64,
        "time_base": Fraction(1, 25),
        "rate": Fraction(25),
        "keyint": 1 if CODECS[codec].intra else 8,
        "pix_fmt": CODECS[codec].encoders[software(codec)].formats[0],
    }
    return EncodeSettings(**{**values, **changes})  # type: ignore[arg-type]


def planes(
    number: int, width: int = 96, height: int = 64, layout: YuvLayout = PIXEL_FORMATS["yuv420p10"]
) -> Planes:
    """A picture that moves with ``number``: a soft texture, whose codes stay within the limited range."""
    y, x = torch.meshgrid(torch.arange(height) + 0.0, torch.arange(width) + 0.0, indexing="ij")
    luma = 500 + 300 * torch.sin((x + 3 * number) / 7) * torch.cos((y - number) / 9)
    across, down = layout.sub
    small_y, small_x = y[:: 1 << down, :: 1 << across], x[:: 1 << down, :: 1 << across]
    chroma = 512 + 120 * torch.sin((small_x - small_y + 2 * number) / 11)
    out = [(c * layout.unit / 4).round().to(torch.uint16) for c in (luma, chroma, 1024 - chroma)]
    return out[0], out[1], out[2]


def write_chunk(
    path: Path, how: EncodeSettings, pts: Sequence[int], durations: Sequence[int] = ()
) -> ChunkFacts:
    """A chunk file with one picture for each pts."""
    with ChunkEncoder(path, how) as encoder:
        for number, time in enumerate(pts):
            duration = durations[number] if durations else None
            picture = planes(time % 1000 + number, how.width, how.height, how.layout)
            encoder.encode(picture, time, duration)
        return encoder.close()


def write_chunks(
    folder: Path, how: EncodeSettings, pts: Sequence[int], parts: int = 2
) -> list[Path]:
    """Chunk files of about equal length, in order."""
    paths = []
    for part in range(parts):
        run = pts[part * len(pts) // parts : (part + 1) * len(pts) // parts]
        paths.append(folder / f"{part}.chunk")
        write_chunk(paths[-1], how, run)
    return paths


CUES = ((200, 900, "Good <i>morning</i>"), (1000, 1600, "Zwölf Boxkämpfer"))  # ms, ms, SRT text


def write_source(
    path: Path,
    *,
    container: str = "matroska",
    sounds: Sequence[str] = ("aac",),
    subtitles: Sequence[str] = (),
    cues: Sequence[tuple[int, int, str]] = CUES,
    pts: Sequence[int] = tuple(range(50)),
    time_base: Fraction = Fraction(1, 25),
    sound_start: Fraction = Fraction(0),
    extras: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """A source of its own making: MPEG-4 pictures at ``pts``, two seconds of tone for each sound codec, subtitles.

    ``extras`` adds tags, chapters, a font and dispositions, which need Matroska.
    """
    with av.open(str(path), "w", format=container, container_options=options or {}) as out:
        video = out.add_stream("mpeg4", rate=25, width=96, height=64)
        video.codec_context.time_base = time_base
        video.codec_context.gop_size = 5
        tones = [out.add_stream(codec, rate=48000) for codec in sounds]
        texts = []
        for codec in subtitles:
            text = out.add_stream(codec)
            text.codec_context.subtitle_header = ASS_HEADER
            text.time_base = Fraction(1, 1000)
            texts.append(text)
        if extras:
            out.metadata.update({"title": "A test", "artist": "Nobody", "MY_OWN": "kept"})
            tones[0].metadata.update({"language": "deu", "title": "Ton"})
            tones[0].disposition = Disposition.original | Disposition.hearing_impaired
            texts[0].metadata["language"] = "fra"
            texts[0].disposition = Disposition.forced
            out.add_attachment("font.ttf", "application/x-truetype-font", b"not a font, but bytes")
            out.set_chapters(CHAPTERS)
        out.start_encoding()
        packets = []
        for number, time in enumerate(pts):
            frame = av.VideoFrame(96, 64, "yuv420p")
            for plane, value in zip(frame.planes, (60 + 3 * (number % 40), 128, 128), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            frame.pts, frame.time_base = time, time_base
            packets += video.encode(frame)
        packets += video.encode(None)
        for tone in tones:
            packets += _tone(tone, sound_start)
        for text, codec in zip(texts, subtitles, strict=True):
            packets += [_cue(text, codec, number, cue) for number, cue in enumerate(cues)]
        for packet in sorted(
            packets, key=lambda p: (p.dts if p.dts is not None else p.pts) * p.time_base
        ):
            out.mux(packet)
    return path


ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
    b"Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, "
    b"MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\r\n\r\n"
    b"[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
CHAPTERS = [
    {
        "id": n,
        "start": n * 1000,
        "end": n * 1000 + 1000,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": name},
    }
    for n, name in enumerate(("Dawn", "Dusk"))
]


def _tone(stream: av.AudioStream, start: Fraction) -> list[av.Packet]:
    encoder = stream.codec_context
    size = encoder.frame_size or 1024
    wave = (torch.sin(torch.arange(2 * 48000) / 20) * 9000).to(torch.int16)
    resampler = av.AudioResampler(
        format=encoder.format.name, layout=encoder.layout.name, rate=48000
    )
    packets = []
    for at in range(0, len(wave) - size, size):
        data = wave[at : at + size].repeat_interleave(2)[None].numpy()
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout="stereo")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = at + round(start * 48000)
        for ready in resampler.resample(frame):
            packets += stream.encode(ready)
    return packets + stream.encode(None)


def _cue(stream: SubtitleStream, codec: str, number: int, cue: tuple[int, int, str]) -> av.Packet:
    start, end, text = cue
    if codec == "ass":
        styled = text.replace("<i>", "{\\i1}").replace("</i>", "{\\i0}")
        data = f"{number},0,Default,,0,0,0,,{styled}".encode()
    elif codec == "mov_text":
        plain = text.replace("<i>", "").replace("</i>", "").encode()
        data = len(plain).to_bytes(2, "big") + plain
    else:
        data = text.encode()
    packet = av.Packet(data)
    packet.pts = packet.dts = start
    packet.duration, packet.time_base = end - start, Fraction(1, 1000)
    packet.stream, packet.is_keyframe = stream, True
    return packet
