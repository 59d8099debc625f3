"""Every combination of codec, container, pixel format and transfer that is offered, judged by outside tools."""

import json
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from hdr10_makers import planes, settings, write_chunks, write_source
from judges import ffprobe, need

from sdr2hdr.codecs import (
    CODECS,
    FORMATS,
    HLG,
    HLG_COMPATIBLE,
    PQ,
    Wanted,
    container_refusal,
    software,
)
from sdr2hdr.color.yuv import PIXEL_FORMATS
from sdr2hdr.errors import OutputError, UsageError
from sdr2hdr.media.assemble import assemble
from sdr2hdr.media.check import check, read_hdr10
from sdr2hdr.media.hdr10 import ContentLight, Mastering
from sdr2hdr.media.stream_plan import plan_streams
from sdr2hdr.options import Options

MASTERING, LIGHT = Mastering("bt2020", 1000.0), ContentLight(812, 97)
SIZE, COUNT = (256, 128), 4
COMBINATIONS = [
    (codec, container, pix_fmt, transfer)
    for codec, known in CODECS.items()
    if not known.ending  # folders of pictures: tests/jobs/test_sequences.py
    for pix_fmt in known.encoders[software(codec)].formats
    for transfer in known.transfers
    for container in known.containers
]
TRANSFERS = {PQ: "smpte2084", HLG: "arib-std-b67", HLG_COMPATIBLE: "arib-std-b67"}
ENTRIES = {"hevc": "hvc1", "av1": "av01", "dnxhr": "AVdh"}
PRORES = {"yuv422p10": "apch", "yuv444p10": "ap4h"}
PROFILES = {
    ("hevc", "yuv420p10"): ("Main 10", "Main 10"),
    "hevc": ("Rext", "Format Range"),
    "av1": ("Main", "Main"),
    ("prores", "yuv422p10"): ("HQ", "422 HQ"),
    ("prores", "yuv444p10"): ("4444", "4444"),
    "dnxhr": ("DNXHR HQX", "RI"),  # "resolution independent", as all of DNxHR
}
"""The profile as ffprobe and as mediainfo name it, by codec and, if it depends on it, pixel format."""
CHROMA = {(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 0): "4:4:4"}

Kind = tuple[str, str, str, str]
Made = dict[Kind, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A file of two chunks and a sound of every kind, each of which passes its check."""
    folder = tmp_path_factory.mktemp("offered")
    source = write_source(folder / "source.mkv", sounds=("flac",), pts=range(COUNT))
    files: Made = {}
    chunks: dict[tuple[str, str, str], list[Path]] = {}
    for codec, container, pix_fmt, transfer in COMBINATIONS:
        key = codec, pix_fmt, transfer
        if key not in chunks:
            place = folder / "-".join(key)
            place.mkdir()
            how = settings(
                codec, pix_fmt=pix_fmt, transfer=transfer, width=SIZE[0], height=SIZE[1], crf=8.0
            )
            chunks[key] = write_chunks(place, how, range(COUNT))
        path = folder / f"{'-'.join(key)}.{container}"
        plan = plan_streams(source, container, codec, 0)
        mastering, light = (MASTERING, LIGHT) if transfer == PQ else (None, None)
        report = assemble(chunks[key], source, path, plan, mastering=mastering, light=light)
        check(path, report.expected)
        files[codec, container, pix_fmt, transfer] = path
    return files


@pytest.fixture(scope="module")
def mediainfos(made: Made) -> dict[str, dict[str, Any]]:
    """Mediainfo's facts of the pictures of all files, by name."""
    command = [need("mediainfo"), "--Output=JSON", *map(str, made.values())]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {
        Path(each["media"]["@ref"]).name: next(
            t for t in each["media"]["track"] if t["@type"] == "Video"
        )
        for each in found
    }


def profile_of(codec: str, pix_fmt: str) -> tuple[str, str] | None:
    """None for FFV1, which has no profiles."""
    return PROFILES.get((codec, pix_fmt), PROFILES.get(codec))


def decoded(codec: str, pix_fmt: str) -> str:
    """FFmpeg's decoder gives all of ProRes 4444 in 12 bits."""
    return "yuv444p12le" if (codec, pix_fmt) == ("prores", "yuv444p10") else f"{pix_fmt}le"


@pytest.mark.parametrize("kind", COMBINATIONS)
def test_ffprobe_reads_what_was_asked_for(made: Made, kind: Kind) -> None:
    codec, container, pix_fmt, transfer = kind
    need("ffprobe")
    found = ffprobe(made[kind], "-show_streams", "-show_frames", "-select_streams", "v")
    (stream,), frames = found["streams"], found["frames"]
    layout = PIXEL_FORMATS[pix_fmt]
    assert stream["codec_name"] == CODECS[codec].ffmpeg
    assert len(frames) == COUNT
    rgb = pix_fmt == "gbrp16"
    for entry in (stream, *frames):
        assert entry["pix_fmt"] == decoded(codec, pix_fmt)
        assert (entry["color_range"], entry["color_space"], entry["color_primaries"]) == (
            "pc" if rgb else "tv",
            "gbr" if rgb else "bt2020nc",
            "bt2020",
        )
        compatible = (
            transfer == HLG_COMPATIBLE and entry is stream
        )  # its frames hold the SEI message
        assert entry["color_transfer"] == ("bt2020-10" if compatible else TRANSFERS[transfer])
        assert entry.get("chroma_location", "unspecified") == (
            "topleft" if layout.sub == (1, 1) else "unspecified"
        )
    if container != "mkv":
        tag = PRORES[pix_fmt] if codec == "prores" else ENTRIES[codec]
        assert stream["codec_tag_string"] == tag
    if (profile := profile_of(codec, pix_fmt)) is not None:
        assert stream["profile"] == profile[0]
    kinds = {s["side_data_type"]: s for s in stream.get("side_data_list", [])}
    if transfer != PQ:
        assert not {kind for kind in kinds if "light" in kind or "Mastering" in kind}
        return
    assert kinds["Content light level metadata"]["max_content"] == 812
    assert Fraction(kinds["Mastering display metadata"]["max_luminance"]) == 1000


@pytest.mark.parametrize("kind", COMBINATIONS)
def test_mediainfo_reads_what_was_asked_for(
    made: Made, mediainfos: dict[str, dict[str, Any]], kind: Kind
) -> None:
    pix_fmt, transfer = kind[2:]
    layout, video = PIXEL_FORMATS[pix_fmt], mediainfos[made[kind].name]
    assert video["colour_primaries"] == "BT.2020"
    profile = profile_of(kind[0], pix_fmt)
    if profile is not None and kind[:2] != ("prores", "mkv"):  # of which it names no profile
        assert profile[1] in video["Format_Profile"]
    if transfer == PQ:
        assert video["transfer_characteristics"] == "PQ"
        assert (video["MaxCLL"].split()[0], video["MaxFALL"].split()[0]) == ("812", "97")
    else:
        words = [v for k, v in video.items() if k.startswith("transfer_characteristics")]
        assert any("HLG" in word for word in words)
        assert "MaxCLL" not in video
    if kind[:2] != ("prores", "mkv") and pix_fmt != "gbrp16":  # of which it names no chroma
        assert video["ChromaSubsampling"] == CHROMA[layout.sub]
        assert video["matrix_coefficients"] == "BT.2020 non-constant"


@pytest.mark.parametrize("kind", [kind for kind in COMBINATIONS if kind[1] == "mkv"])
def test_matroska_tools_find_nothing_wrong(made: Made, kind: Kind) -> None:
    facts = json.loads(
        subprocess.run(
            [need("mkvmerge"), "-J", str(made[kind])], check=True, capture_output=True
        ).stdout
    )
    assert facts["errors"] == facts["warnings"] == []
    properties = facts["tracks"][0]["properties"]
    layout = PIXEL_FORMATS[kind[2]]
    assert properties["color_bits_per_channel"] == layout.depth
    assert properties["color_matrix_coefficients"] == (0 if layout.matrix == "rgb" else 9)
    assert properties.get("max_content_light") == (812 if kind[3] == PQ else None)


@pytest.mark.parametrize("kind", COMBINATIONS)
def test_the_pictures_come_back(made: Made, kind: Kind) -> None:
    """FFV1's to the bit; of other codecs each is nearest to the one that was given."""
    layout = PIXEL_FORMATS[kind[2]]
    with av.open(str(made[kind])) as file:
        frames = list(file.decode(video=0))
    for number, frame in enumerate(frames):
        found = [torch.from_dlpack(plane) for plane in frame.planes]
        if frame.format.name != f"{kind[2]}le":  # ProRes 4444
            found = [(plane.int() >> 2).to(torch.uint16) for plane in found]
        if layout.matrix == "rgb":
            found = [found[2], found[0], found[1]]
        # write_chunks numbers the pictures of each chunk from 0 and adds their time
        given = planes(number + number % (COUNT // 2), *SIZE, layout)
        for ours, theirs in zip(given, found, strict=True):
            if kind[0] == "ffv1":
                assert torch.equal(ours, theirs)
            else:
                apart = (ours.float() - theirs.float()).abs().mean() / layout.unit
                assert apart < 3  # steps of 8 bits; a picture and the next are some 15 apart


def test_what_is_not_offered_is_refused_in_one_sentence(tmp_path: Path) -> None:
    source = write_source(tmp_path / "s.mkv", sounds=(), pts=range(2))
    for codec, known in CODECS.items():
        for container in {"mkv", "mp4", "mov"} - set(known.containers):
            with pytest.raises(OutputError, match=f"{container.upper()} cannot hold {known.noun}"):
                plan_streams(source, container, codec, 0)
        for word, writer in known.encoders.items():
            for pix_fmt in set(FORMATS) - set(writer.formats):
                why = "leave --pix-fmt out" if known.ending else f"in {pix_fmt}; give --pix-fmt yuv"
                with pytest.raises(UsageError, match=why):
                    Options(codec=codec, encoder=word, pix_fmt=pix_fmt)
    with pytest.raises(UsageError, match="ProRes has no CRF"):
        Options(codec="prores", crf=12.0)
    with pytest.raises(UsageError, match="FFV1 has no presets"):
        Options(codec="ffv1", preset="slow")
    with pytest.raises(
        UsageError, match="dnxhr carries no metadata for --hdr10plus; give --codec hevc or av1"
    ):
        Options(codec="dnxhr", hdr10plus=True)
    with pytest.raises(UsageError, match="Encoder ffv1 does not write hevc; give --codec ffv1"):
        Options(encoder="ffv1")
    with pytest.raises(UsageError, match="is 4:2:0 in 10 bits; leave --pix-fmt or --dolby-vision"):
        Options(dolby_vision=True, pix_fmt="yuv422p10")
    with pytest.raises(UsageError, match="HDR10\\+ goes with PQ alone; leave --hdr10plus or"):
        Options(hdr10plus=True, transfer=HLG)


def test_formats_are_those_that_can_be_packed() -> None:
    assert set(FORMATS) == set(PIXEL_FORMATS)
    for codec, known in CODECS.items():
        assert Options(codec=codec).planes in known.encoders[software(codec)].formats
        assert Wanted(codec, software(codec), Options(codec=codec).planes).refusal() is None
        assert container_refusal(codec, known.containers[0]) is None


def test_read_hdr10_finds_it_in_the_container_of_a_codec_without_messages(made: Made) -> None:
    for kind in (("prores", "mov", "yuv422p10", PQ), ("ffv1", "mkv", "gbrp16", PQ)):
        found = read_hdr10(made[kind])
        assert not any(found["bitstream"].values())
        assert found["container"]["light"] == {"max_cll": 812, "max_fall": 97}
