"""Reading: every picture, in order, at its time, in the colours the file says; and what is said of other files."""

import io
import os
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenEXR
import pytest
import torch
from judges import ffprobe, need
from media_makers import Planes, frame_of, make_clip, moving_texture, plane_shapes

from sdr2hdr.color.tonemap import bt2408
from sdr2hdr.color.transfer import bt1886_eotf
from sdr2hdr.errors import InputError
from sdr2hdr.media import source as source_module
from sdr2hdr.media.picture import Picture
from sdr2hdr.media.source import Loss, Source

LOSSLESS = {"codec": "ffv1"}


def same(a: Picture, b: Picture) -> bool:
    return a.pts == b.pts and all(
        torch.equal(x, y) for x, y in zip(a.planes, b.planes, strict=True)
    )


def flat(pix_fmt: str, size: tuple[int, int], codes: tuple[int, ...]) -> Callable[[int], Planes]:
    dtype = np.uint16 if pix_fmt.endswith("le") else np.uint8
    return lambda _: [
        np.full(s, c, dtype) for s, c in zip(plane_shapes(pix_fmt, size), codes, strict=True)
    ]


# ---- pictures and times


@pytest.mark.parametrize(
    "pix_fmt",
    [
        "yuv420p",
        "yuv422p",
        "yuv444p",
        "yuv420p10le",
        "yuv422p10le",
        "yuv444p12le",
        "gray",
        "gray10le",
        "yuv411p",
    ],
)
@pytest.mark.parametrize("size", [(64, 48), (33, 17)])
def test_planes_are_those_of_the_file(tmp_path: Path, pix_fmt: str, size: tuple[int, int]) -> None:
    clip = make_clip(tmp_path / "a.mkv", **LOSSLESS, pix_fmt=pix_fmt, size=size, frames=4)
    depth = av.VideoFormat(pix_fmt).components[0].bits
    pictures = list(Source(clip).pictures())
    assert len(pictures) == 4
    for index, picture in enumerate(pictures):
        written = moving_texture(index, plane_shapes(pix_fmt, size), depth)
        assert picture.layout.depth == depth
        for plane, truth in zip(picture.planes, written, strict=True):
            assert np.array_equal(plane.numpy(), truth)
        assert picture.rgb().shape == (3, size[1], size[0])


def test_semi_planar_and_packed_formats_are_only_rearranged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, uv = (rng.integers(0, 256, s).astype(np.uint8) for s in ((18, 34), (9, 34)))
    clip = make_clip(
        tmp_path / "a.nut",
        codec="rawvideo",
        pix_fmt="nv12",
        size=(34, 18),
        frames=1,
        picture=lambda _: [y, uv],
    )
    (picture,) = Source(clip).pictures()
    assert picture.layout.sub == (1, 1)
    for plane, truth in zip(picture.planes, (y, uv[:, 0::2], uv[:, 1::2]), strict=True):
        assert np.array_equal(plane.numpy(), truth)
    packed = rng.integers(0, 256, (18, 34 * 3)).astype(np.uint8)
    clip = make_clip(
        tmp_path / "b.mov",
        codec="png",
        pix_fmt="rgb24",
        size=(34, 18),
        frames=1,
        picture=lambda _: [packed],
    )
    (picture,) = Source(clip).pictures()
    assert picture.layout.matrix == "rgb"
    wanted = torch.from_numpy(packed.reshape(18, 34, 3)).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(picture.rgb(), wanted, atol=1e-6, rtol=0)


def test_planar_rgb_keeps_its_channels_apart(tmp_path: Path) -> None:
    picture = flat("gbrp10le", (16, 16), (200, 300, 400))  # memory order is G, B, R
    clip = make_clip(
        tmp_path / "a.mkv", **LOSSLESS, pix_fmt="gbrp10le", size=(16, 16), frames=1, picture=picture
    )
    (read,) = Source(clip).pictures()
    torch.testing.assert_close(read.rgb()[:, 0, 0], torch.tensor([400, 200, 300]) / 1023)


def test_times_of_variable_rate_with_an_offset(tmp_path: Path) -> None:
    pts = [500, 540, 600, 630, 800, 810, 820, 900, 1000, 1005, 1006, 1200]
    clip = make_clip(tmp_path / "a.mkv", pts=pts, time_base=Fraction(1, 1000), options={"bf": "2"})
    source = Source(clip)
    assert source.info.time_base == Fraction(1, 1000)
    assert [p.pts for p in source.pictures()] == pts
    assert source.info.start_pts == 500
    assert source.loss == Loss()


def test_times_and_count_agree_with_ffprobe(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mkv", "c.ts", "d.mov"):
        clip = make_clip(tmp_path / name, frames=30, options={"x264-params": "bframes=3:keyint=9"})
        frames = ffprobe(clip, "-select_streams", "v", "-show_entries", "frame=pts")["frames"]
        assert [p.pts for p in Source(clip, keep_start=True).pictures()] == [
            f["pts"] for f in frames
        ], name


@pytest.mark.parametrize("name", ["a.h264", "b.avi"])
def test_missing_times_are_made(tmp_path: Path, name: str) -> None:
    """A raw stream has no times, AVI none of presentation; the pictures come in order all the same, a frame apart."""
    clip = make_clip(tmp_path / name, frames=40, options={"x264-params": "bframes=3:keyint=10"})
    pictures = list(Source(clip).pictures())
    with av.open(str(clip)) as c:
        truth = [
            np.frombuffer(bytes(f.planes[0]), np.uint8).reshape(48, -1)[:, :64]
            for f in c.decode(video=0)
        ]
    assert len(pictures) == 40
    assert all(np.array_equal(p.planes[0].numpy(), t) for p, t in zip(pictures, truth, strict=True))
    steps = {b.pts - a.pts for a, b in pairwise(pictures)}
    assert len(steps) == 1 and steps.pop() > 0


def test_times_that_do_not_rise_are_mended_and_counted(tmp_path: Path) -> None:
    """Intra pictures copied into Matroska, which stores presentation times alone, with one doubled and one backward."""
    good = make_clip(tmp_path / "a.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=6)
    bad = tmp_path / "b.mkv"
    with av.open(str(good)) as inp, av.open(str(bad), "w") as out:
        stream = out.add_stream_from_template(inp.streams.video[0], opaque=True)
        packets = [p for p in inp.demux() if p.size]
        for index, (packet, pts) in enumerate(
            zip(packets, [1000, 1040, 1040, 1030, 1200, 1240], strict=True)
        ):
            packet.stream, packet.pts, packet.dts = stream, pts, index
            out.mux(packet)
    source = Source(bad)
    seen = [p.pts for p in source.pictures()]
    assert seen == [1000, 1040, 1041, 1042, 1200, 1240]
    assert source.loss.mended == 2 and not source.loss


def test_pictures_without_a_time_are_counted_back_from_the_first_that_has_one(
    tmp_path: Path,
) -> None:
    """FFmpeg writes times before 0 into Matroska, and reads none of them back."""
    source = make_clip(
        tmp_path / "a.mkv", frames=40, options={"x264-params": "bframes=2:keyint=40"}
    )
    early = tmp_path / "early.mkv"
    moved = ["-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled"]
    command = [need("ffmpeg"), "-v", "error", "-i", str(source), "-c", "copy", *moved, str(early)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with av.open(str(early)) as file:
        known = [p.pts for p in file.demux(video=0) if p.size]
        assert known[0] is None and any(known)
    pictures = list(Source(early, keep_start=True).pictures())
    assert [p.pts for p in pictures] == [40 * n - 500 for n in range(40)]
    for mine, other in zip(pictures, Source(source).pictures(), strict=True):
        assert torch.equal(mine.planes[0], other.planes[0])


# ---- starting anywhere

SEEKABLE = {
    "x264 open GOP": (
        "a.mp4",
        "libx264",
        {
            "preset": "fast",
            "x264-params": "keyint=12:min-keyint=12:open-gop=1:bframes=3:scenecut=0",
        },
    ),
    "x264 refresh": ("b.mkv", "libx264", {"x264-params": "keyint=16:intra-refresh=1"}),
    "x264 ts": ("c.ts", "libx264", {"x264-params": "keyint=12:open-gop=1:bframes=3:scenecut=0"}),
    "x265 open GOP": (
        "d.mkv",
        "libx265",
        {
            "preset": "ultrafast",
            "x265-params": "keyint=12:min-keyint=12:open-gop=1:bframes=3:scenecut=0:log-level=none",
        },
    ),
    "x265 mp4": (
        "e.mp4",
        "libx265",
        {"preset": "ultrafast", "x265-params": "keyint=10:open-gop=1:bframes=4:log-level=none"},
    ),
    "MPEG-2 ts": ("f.ts", "mpeg2video", {"g": "12", "bf": "2", "b": "1M"}),
    "MPEG-2 interlaced": (
        "g.ts",
        "mpeg2video",
        {"g": "12", "bf": "2", "b": "1M", "flags": "+ildct+ilme"},
    ),
    "VP9": ("h.webm", "libvpx-vp9", {"g": "15", "deadline": "realtime", "cpu-used": "8"}),
    "ProRes": ("i.mov", "prores_ks", {}),
}


@pytest.mark.parametrize("case", SEEKABLE)
def test_a_picture_is_the_same_wherever_reading_starts(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, codec, options = SEEKABLE[case]
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    clip = make_clip(tmp_path / name, codec=codec, pix_fmt=pix_fmt, frames=90, options=options)
    source = Source(clip)
    straight = list(source.pictures())
    assert len(straight) == 90 and source.loss == Loss()
    jumps = []
    real = source_module._packets_before

    def watched(*args: object) -> object:
        packets = real(*args)  # type: ignore[arg-type]
        jumps.append(packets is not None)
        return packets

    monkeypatch.setattr(source_module, "_packets_before", watched)
    for first in (0, 1, 37, 48, 49, 60, 71, 72, 73, 89):
        parts = list(source.pictures(straight[first].pts))
        assert len(parts) == 90 - first, (case, first)
        assert all(same(a, b) for a, b in zip(parts, straight[first:], strict=True)), (case, first)
    assert any(jumps), "every start was read from the beginning: the seek was never tried"
    between = list(source.pictures(straight[59].pts + 1))
    assert between[0].pts == straight[60].pts
    assert list(source.pictures(straight[-1].pts + 1)) == []


def test_files_without_times_are_read_from_the_start(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.avi", frames=80, options={"x264-params": "bframes=3:keyint=10"})
    straight = list(Source(clip).pictures())
    parts = list(Source(clip).pictures(straight[70].pts))
    assert [p.pts for p in parts] == [p.pts for p in straight[70:]]
    assert all(same(a, b) for a, b in zip(parts, straight[70:], strict=True))


# ---- interlaced


def test_interlaced_pictures_are_bwdifs_one_for_one(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=20, options={"x264-params": "tff=1:bframes=2"})
    source = Source(clip, deinterlace="tff")
    assert source.info.interlaced
    pictures = list(source.pictures())
    with av.open(str(clip)) as c:
        decoded = list(c.decode(video=0))
    assert [p.pts for p in pictures] == [f.pts for f in decoded]
    raw = np.frombuffer(
        subprocess.run(
            [
                need("ffmpeg"),
                "-v",
                "error",
                "-i",
                str(clip),
                "-vf",
                "bwdif=mode=send_frame:deint=all:parity=tff",
                "-fps_mode",
                "passthrough",
                "-f",
                "rawvideo",
                "-",
            ],
            check=True,
            capture_output=True,
        ).stdout,
        np.uint8,
    ).reshape(20, -1)
    # the first has none before it, where versions of bwdif differ
    for picture, truth in zip(pictures[1:], raw[1:], strict=True):
        mine = np.concatenate([p.numpy().ravel() for p in picture.planes])
        assert np.array_equal(mine, truth)


def test_progressive_pictures_among_interlaced_ones_stay_untouched(tmp_path: Path) -> None:
    """Twelve progressive, twelve interlaced and twelve progressive pictures in one stream of ProRes, which flags each."""
    clip, size, pix_fmt = tmp_path / "a.mov", (64, 48), "yuv422p10le"
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("prores_ks", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        encoders = []
        for options in ({}, {"flags": "+ildct"}):
            codec = av.CodecContext.create("prores_ks", "w")
            codec.width, codec.height, codec.pix_fmt = *size, pix_fmt
            codec.time_base, codec.options = Fraction(1, 25), options
            encoders.append(codec)
        for index in range(36):
            planes, later = (
                moving_texture(n, plane_shapes(pix_fmt, size), 10)
                for n in (2 * index, 2 * index + 1)
            )
            if 12 <= index < 24:
                for plane, other in zip(planes, later, strict=True):
                    plane[1::2] = other[1::2]
            frame = frame_of(planes, pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in encoders[12 <= index < 24].encode(frame):
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                out.mux(packet)
    with av.open(str(clip)) as c:
        decoded = list(c.decode(video=0))
    flags = [f.interlaced_frame for f in decoded]
    assert flags == [False] * 12 + [True] * 12 + [False] * 12
    pictures = list(Source(clip).pictures())
    assert [p.pts for p in pictures] == [f.pts for f in decoded]
    for picture, frame, interlaced in zip(pictures, decoded, flags, strict=True):
        luma = np.frombuffer(bytes(frame.planes[0]), np.uint16).reshape(48, -1)[:, :64]
        assert np.array_equal(picture.planes[0].numpy(), luma) != interlaced
    for first in (11, 12, 13, 24):
        assert same(next(Source(clip).pictures(pictures[first].pts)), pictures[first])


# ---- colour


@pytest.mark.parametrize(
    ("size", "tags", "given", "matrix", "full", "how"),
    [
        ((64, 48), {}, {}, "bt601", False, ("untagged rule", "untagged rule")),
        ((64, 720), {}, {}, "bt709", False, ("untagged rule", "untagged rule")),
        ((64, 718), {}, {}, "bt601", False, ("untagged rule", "untagged rule")),
        ((64, 48), {"colorspace": 1, "color_range": 2}, {}, "bt709", True, ("tagged", "tagged")),
        ((64, 48), {"colorspace": 5, "color_range": 1}, {}, "bt601", False, ("tagged", "tagged")),
        (
            (64, 48),
            {"colorspace": 7, "color_range": 1},
            {},
            "smpte240m",
            False,
            ("tagged", "tagged"),
        ),
        ((64, 48), {"colorspace": 4, "color_range": 1}, {}, "fcc", False, ("tagged", "tagged")),
        (
            (64, 48),
            {"colorspace": 9, "color_range": 1},
            {},
            "bt2020nc",
            False,
            ("tagged", "tagged"),
        ),
        (
            (64, 48),
            {"colorspace": 9},
            {"matrix": "bt709", "range": "full"},
            "bt709",
            True,
            ("given", "given"),
        ),
        (
            (64, 48),
            {"colorspace": 10},
            {"matrix": "bt2020nc"},
            "bt2020nc",
            False,
            ("given", "tagged"),
        ),
    ],
)
def test_matrix_and_range(
    tmp_path: Path,
    size: tuple[int, int],
    tags: dict[str, int],
    given: dict[str, str],
    matrix: str,
    full: bool,
    how: tuple[str, str],
) -> None:
    clip = make_clip(tmp_path / "a.mkv", size=size, frames=2, **tags)
    info = Source(clip, **given).info
    assert (info.layout.matrix, info.layout.full_range, (info.matrix_from, info.range_from)) == (
        matrix,
        full,
        how,
    )


def test_full_range_jpeg_pictures(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=2)
    assert Source(clip).info.layout.full_range


def test_an_unknown_matrix_names_the_way_out(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=2, colorspace=10)
    with pytest.raises(InputError, match=r"a\.mkv.*matrix number 10.*--input-matrix"):
        Source(clip)


@pytest.mark.parametrize(
    ("codec", "options", "siting"),
    [
        ("libx264", {}, "left"),
        ("libx264", {"chroma_sample_location": "topleft"}, "topleft"),
        ("libx265", {"x265-params": "chromaloc=1:log-level=none"}, "center"),
        ("mpeg2video", {}, "left"),
        ("mjpeg", {}, "center"),
        ("ffv1", {}, "left"),
    ],
)
def test_chroma_siting_is_the_files(
    tmp_path: Path, codec: str, options: dict[str, str], siting: str
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    clip = make_clip(tmp_path / "a.mkv", codec=codec, pix_fmt=pix_fmt, frames=3, options=options)
    assert Source(clip).info.layout.siting == siting


def test_tagged_colours_are_seen_as_bt709(tmp_path: Path) -> None:
    """The red of BT.601-525 is the colour x 0.630, y 0.340, wherever it is written."""
    y, cb, cr = round(16 + 219 * 0.299), round(128 - 224 * 0.299 / 1.772), 240
    tags = {"colorspace": 6, "color_primaries": 6, "color_trc": 6, "color_range": 1}
    picture = flat("yuv420p", (16, 16), (y, cb, cr))
    clip = make_clip(
        tmp_path / "a.mkv", **LOSSLESS, size=(16, 16), frames=1, picture=picture, **tags
    )
    (read,) = Source(clip).pictures()
    xyz_of_709 = np.array(
        [
            [0.412391, 0.357584, 0.180481],
            [0.212639, 0.715169, 0.072192],
            [0.019331, 0.119195, 0.950532],
        ]
    )
    x, y_, z = xyz_of_709 @ (read.rgb()[:, 0, 0].numpy().astype(np.float64) ** 2.4)
    assert (x / (x + y_ + z), y_ / (x + y_ + z)) == pytest.approx((0.630, 0.340), abs=0.003)


def test_bt2020_sdr_is_clipped_into_bt709(tmp_path: Path) -> None:
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 14, "color_range": 1}
    grey = flat("yuv420p10le", (16, 16), (502, 512, 512))
    clip = make_clip(
        tmp_path / "a.mkv",
        **LOSSLESS,
        pix_fmt="yuv420p10le",
        size=(16, 16),
        frames=1,
        picture=grey,
        **tags,
    )
    (read,) = Source(clip).pictures()
    torch.testing.assert_close(read.rgb(), torch.full((3, 16, 16), 0.5), atol=1e-3, rtol=0)
    green = flat(
        "yuv420p10le",
        (16, 16),
        (
            round(64 + 876 * 0.678),
            round(512 - 896 * 0.678 / 1.8814),
            round(512 - 896 * 0.678 / 1.4746),
        ),
    )
    clip = make_clip(
        tmp_path / "b.mkv",
        **LOSSLESS,
        pix_fmt="yuv420p10le",
        size=(16, 16),
        frames=1,
        picture=green,
        **tags,
    )
    (read,) = Source(clip).pictures()
    assert read.rgb()[:, 0, 0].tolist() == pytest.approx([0, 1, 0], abs=1e-3)


# ---- shape


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_come_upright(tmp_path: Path, degrees: int) -> None:
    """The stored picture has a bright top left corner; turned clockwise it goes to the next corner."""

    def corner(_: int) -> Planes:
        y, u, v = flat("yuv420p", (64, 48), (30, 128, 128))(0)
        y[:12, :12] = 230
        return [y, u, v]

    clip = make_clip(
        tmp_path / "a.mp4",
        frames=2,
        rotation=degrees,
        picture=corner,
        aspect=Fraction(4, 3),
        options={"crf": "5"},
    )
    source = Source(clip)
    turned = degrees in {90, 270}
    assert source.info.size == ((48, 64) if turned else (64, 48))
    assert source.info.coded_size == (64, 48)
    assert source.info.sample_aspect_ratio == (Fraction(3, 4) if turned else Fraction(4, 3))
    assert source.info.turn.degrees == degrees
    rgb = next(source.pictures()).rgb()[0]
    assert tuple(rgb.shape) == source.info.size[::-1]
    corners = {0: rgb[:8, :8], 90: rgb[:8, -8:], 180: rgb[-8:, -8:], 270: rgb[-8:, :8]}
    assert {d for d, c in corners.items() if float(c.mean()) > 0.8} == {degrees}


def test_mirrored_pictures(tmp_path: Path) -> None:
    """A display matrix that mirrors left to right, as front cameras write it: patched into the track header."""
    ramp = [
        np.tile(np.linspace(20, 230, 64).astype(np.uint8), (48, 1)),
        *(np.full((24, 32), 128, np.uint8) for _ in range(2)),
    ]
    clip = make_clip(tmp_path / "a.mp4", frames=1, picture=lambda _: ramp, options={"crf": "1"})
    data = clip.read_bytes()
    at = (
        data.index(b"tkhd") + 4 + 40
    )  # the matrix lies 40 bytes into a version 0 track header (ISO/IEC 14496-12 8.3.2)
    assert data[at : at + 4] == (1 << 16).to_bytes(4)
    clip.write_bytes(data[:at] + (-(1 << 16)).to_bytes(4, signed=True) + data[at + 4 :])
    rgb = next(Source(clip).pictures()).rgb()[0]
    assert float(rgb[:, 0].mean()) > 0.9 > 0.1 > float(rgb[:, -1].mean())


def test_what_else_is_in_the_file(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "a.mkv",
        frames=30,
        audio=["aac", "flac"],
        subtitles=["eng"],
        chapters=["one", "two"],
    )
    info = Source(clip).info
    assert (info.audio, len(info.subtitles), info.chapters, info.video_streams) == (
        ("aac", "flac"),
        1,
        2,
        1,
    )
    assert (info.codec, info.rate, info.frames, info.pix_fmt) == (
        "h264",
        Fraction(25),
        30,
        "yuv420p",
    )


# ---- damage


def broken(clip: Path, bad: set[int]) -> Path:
    """A copy of a clip in which the packets of these numbers hold noise."""
    out = clip.with_stem("broken")
    with av.open(str(clip)) as inp, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(inp.streams.video[0], opaque=True)
        for index, packet in enumerate(p for p in inp.demux() if p.size):
            copy = av.Packet(
                np.random.default_rng(index).bytes(packet.size) if index in bad else bytes(packet)
            )
            copy.stream, copy.time_base = stream, packet.time_base
            copy.pts, copy.dts, copy.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
            target.mux(copy)
    return out


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"x264-params": "keyint=10:bframes=2"}),
        ("c.mp4", "libx265", {"preset": "ultrafast", "x265-params": "keyint=10:log-level=none"}),
    ],
)
def test_damage_is_survived_counted_and_the_same_every_time(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    clip = make_clip(tmp_path / name, codec=codec, frames=80, options=options)
    bad = broken(clip, {33, 34, 52})
    source = Source(bad)
    first = list(source.pictures())
    loss = source.loss
    assert loss.damaged + loss.corrupt >= 1
    assert 60 <= len(first) <= 80
    assert all(a.pts < b.pts for a, b in pairwise(first))
    for _ in range(2):
        again = list(source.pictures())
        assert source.loss == loss
        assert len(again) == len(first) and all(
            same(a, b) for a, b in zip(again, first, strict=True)
        )
    whole = list(Source(clip).pictures())
    assert all(same(a, b) for a, b in zip(first[:28], whole[:28], strict=True)), (
        "what lies before the damage is whole"
    )
    assert all(same(a, b) for a, b in zip(first[-15:], whole[-15:], strict=True)), (
        "and what lies after it"
    )
    with pytest.raises(InputError, match=r"broken.* is damaged.*--strict"):
        list(Source(bad, strict=True).pictures())


@pytest.mark.parametrize("name", ["a.mkv", "b.ts", "c.avi"])
def test_holes_in_the_file_itself_are_survived(tmp_path: Path, name: str) -> None:
    codec = "mpeg2video" if name.endswith("ts") else "libx264"
    clip = make_clip(tmp_path / name, codec=codec, frames=80, options={"g": "10", "threads": "1"})
    whole = list(Source(clip).pictures())
    data = bytearray(clip.read_bytes())
    at = int(len(data) * 0.4)
    data[at : at + 900] = bytes(900)
    clip.write_bytes(data)
    source = Source(clip)
    pictures = list(source.pictures())
    assert source.loss
    assert all(same(a, b) for a, b in zip(pictures[:8], whole[:8], strict=True))
    assert all(a.pts < b.pts for a, b in pairwise(pictures)) and len(pictures) > 30


@pytest.mark.parametrize("name", ["a.mkv", "b.mp4"])
def test_truncated_files_give_what_decodes(tmp_path: Path, name: str) -> None:
    options = {"x264-params": "keyint=10:bframes=2"}
    clip = make_clip(tmp_path / name, frames=80, options=options)
    if name.endswith("mp4"):  # with the index in front, as a download cut off has it
        with (
            av.open(str(clip)) as inp,
            av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "faststart"}) as out,
        ):
            stream = out.add_stream_from_template(inp.streams.video[0], opaque=True)
            for packet in inp.demux():
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
        clip = tmp_path / "front.mp4"
    whole = list(Source(clip).pictures())
    data = clip.read_bytes()
    cut = tmp_path / f"cut{clip.suffix}"
    cut.write_bytes(data[: int(len(data) * 0.6)])
    source = Source(cut)
    pictures = list(source.pictures())
    assert 40 <= len(pictures) < 60
    assert all(same(a, b) for a, b in zip(pictures[:-4], whole, strict=False))
    assert float(source.loss.missing) == pytest.approx((80 - len(pictures)) / 25, abs=0.13)
    with pytest.raises(InputError, match="--strict"):
        list(Source(cut, strict=True).pictures())


@pytest.mark.parametrize(
    "codec", ["libx264", "libvpx"]
)  # VP8 has no check sums: it decodes anything
def test_a_matroska_file_with_a_gap_is_told_from_a_whole_one(tmp_path: Path, codec: str) -> None:
    clip = make_clip(
        tmp_path / "whole.mkv", codec=codec, frames=80, options={"g": "10"}, audio=["aac"]
    )
    data = clip.read_bytes()
    gap = len(data) // 2
    for name, torn in (
        ("gone", data[:gap] + data[gap + 700 :]),
        ("zeroed", data[:gap] + bytes(3000) + data[gap + 3000 :]),
        ("short", data[:-100]),
    ):
        path = tmp_path / f"{name}.mkv"
        path.write_bytes(torn)
        source = Source(path)
        list(source.pictures())
        assert source.loss.torn and source.loss, name
        with pytest.raises(InputError, match="--strict"):
            list(Source(path, strict=True).pictures())


def test_a_matroska_stream_of_unknown_length_is_whole(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "whole.mkv", frames=30, audio=["aac"])
    live = tmp_path / "live.mkv"

    class Pipe(io.RawIOBase):
        """What cannot be sought in, so that no length can be written afterwards."""

        name = None

        def __init__(self) -> None:
            self.file = live.open("wb")

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return self.file.write(data)

    with Pipe() as pipe, av.open(str(clip)) as inp:
        with av.open(pipe, "w", format="matroska", container_options={"live": "1"}) as out:
            copies = {s.index: out.add_stream_from_template(s, opaque=True) for s in inp.streams}
            for packet in inp.demux():
                if packet.size:
                    packet.stream = copies[packet.stream_index]
                    out.mux(packet)
        pipe.file.close()
    assert live.read_bytes()[:400].count(b"\x01\xff\xff\xff\xff\xff\xff\xff"), (
        "a length that is not known"
    )
    source = Source(live, strict=True)
    assert len(list(source.pictures())) == 30 and not source.loss


def test_whole_files_pass_strict(tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mp4", "c.ts"):
        clip = make_clip(
            tmp_path / name,
            frames=40,
            audio=["aac"],
            options={"x264-params": "bframes=3:keyint=12"},
        )
        source = Source(clip, strict=True)
        assert len(list(source.pictures())) == 40
        assert source.loss == Loss()


def test_a_picture_that_changes_size_is_refused_with_the_way_out(tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(4):
            size = (64, 48) if index < 2 else (32, 32)
            codec = av.CodecContext.create("mjpeg", "w")
            codec.width, codec.height, codec.pix_fmt, codec.time_base = (
                *size,
                "yuvj420p",
                Fraction(1, 25),
            )
            frame = frame_of(moving_texture(index, plane_shapes("yuvj420p", size), 8), "yuvj420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in codec.encode(frame):
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                out.mux(packet)
    with pytest.raises(InputError, match=r"a\.mkv changes from 64x48 .* to 32x32 .*cut it there"):
        list(Source(clip).pictures())


@pytest.mark.parametrize(
    ("name", "coder", "size"),
    [
        ("a.m2v", "mpeg2video", "96x64"),
        ("a.h264", "libx264", "96x64"),
        ("a.dv", "dvvideo", "720x576"),
    ],
)
def test_a_bitstream_whose_aspect_changes_is_refused(
    tmp_path: Path, name: str, coder: str, size: str
) -> None:
    """Headers of the pictures alone say it there. FFmpeg's reader of DV looks far ahead, and then says the last one."""
    parts = []
    for aspect in ("4/3", "16/9"):
        parts.append(tmp_path / f"{aspect[0]}{name}")
        given = f"testsrc2=s={size}:d=1:r=25,setdar={aspect},format=yuv420p"
        command = [need("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", given, "-c:v", coder]
        subprocess.run([*command, parts[-1]], check=True)
    path = tmp_path / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = Source(path)
    assert source.info.sample_aspect_ratio == Source(parts[0]).info.sample_aspect_ratio
    with pytest.raises(InputError, match=r"changes from a sample aspect ratio of .* at 0:00:0[01]"):
        list(source.pictures())


def test_an_exr_of_half_floats_is_read_as_one_of_floats(tmp_path: Path) -> None:
    """Grey and in colour: FFmpeg gives both as they are, and their bits are no codes."""
    ramp = np.linspace(0, 1, 64 * 48).reshape(48, 64)
    for channels in ("RGB", "Y"):
        planes = []
        for kind in (np.float32, np.float16):
            path = tmp_path / f"{channels}{np.dtype(kind).name}.exr"
            halves = [(ramp * (n + 1) / 3).astype(np.float16) for n in range(len(channels))]
            data = {c: half.astype(kind) for c, half in zip(channels, halves, strict=True)}
            header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
            OpenEXR.File(header, data).write(str(path))
            planes.append(next(Source(path).pictures()).rgb())
        assert torch.allclose(planes[0], planes[1], atol=1e-6)
        assert float(planes[0].std()) > 0.05


# ---- no SDR video


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        Source(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    return message


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "no.mp4")
    assert "is a folder" in refusal(tmp_path)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert "is empty" in refusal(empty)
    assert "no name" in refusal(tmp_path / "a\0.mp4")
    assert "check the name" in refusal(tmp_path / ("a" * 300 + ".mp4"))


def test_pipes_and_devices_are_refused_without_waiting_for_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "pipe" in refusal(tmp_path / "pipe.mp4")
    assert "device" in refusal(Path("/dev/null"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=2)
    clip.chmod(0)
    assert "permissions" in refusal(clip)


@pytest.mark.parametrize("name", ["a.txt", "a.mp4", "a.mkv", "a.ts"])
def test_files_that_are_no_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("To be, or not to be, that is the question.\n" * 200)
    assert "is not a video" in refusal(path)
    path.write_bytes(np.random.default_rng(0).bytes(200_000))
    refusal(path)


def test_lists_that_name_other_files_are_not_followed(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.ts", frames=30)
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\na.ts\n#EXT-X-ENDLIST\n")
    refusal(path)
    path = tmp_path / "list.ffconcat"
    path.write_text("ffconcat version 1.0\nfile a.ts\n")
    refusal(path)


def test_sound_alone_and_sound_with_a_cover(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with av.open(str(path), "w") as out:
        track = out.add_stream("flac", rate=48000, layout="mono")
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), np.int16), format="s16", layout="mono"
        )
        sound.sample_rate = 48000
        out.mux(track.encode(sound))
        out.mux(track.encode(None))
    assert "no video" in refusal(path)
    cover = tmp_path / "cover.jpg"
    with av.open(str(cover), "w", format="image2") as out:
        image = out.add_stream("mjpeg", rate=25)
        image.width, image.height, image.pix_fmt = 64, 48, "yuvj420p"
        out.mux(
            image.encode(
                frame_of(moving_texture(0, plane_shapes("yuvj420p", (64, 48)), 8), "yuvj420p")
            )
        )
        out.mux(image.encode(None))
    album = tmp_path / "album.mp3"
    with av.open(str(album), "w") as out, av.open(str(cover)) as picture:
        track = out.add_stream("mp3", rate=48000)
        image = out.add_stream_from_template(picture.streams.video[0], opaque=True)
        image.disposition = av.stream.Disposition.attached_pic
        packet = next(picture.demux())
        packet.stream = image
        out.mux(packet)
        sound = av.AudioFrame.from_ndarray(
            np.zeros((2, 1152), np.float32), format="fltp", layout="stereo"
        )
        sound.sample_rate = 48000
        out.mux(track.encode(sound))
        out.mux(track.encode(None))
    assert "only a cover picture" in refusal(album)


def test_a_file_cut_off_before_its_index(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=40)
    clip.write_bytes(clip.read_bytes()[:-2000])
    assert "index" in refusal(clip)


def test_a_stream_of_which_nothing_decodes(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", codec="ffv1", frames=3)
    noise = tmp_path / "b.mkv"
    with av.open(str(clip)) as inp, av.open(str(noise), "w") as out:
        stream = out.add_stream_from_template(inp.streams.video[0], opaque=True)
        for packet in inp.demux():
            if packet.size:
                bad = av.Packet(b"\0" * 20)
                bad.stream, bad.pts, bad.dts, bad.time_base = (
                    stream,
                    packet.pts,
                    packet.dts,
                    packet.time_base,
                )
                out.mux(bad)
    assert "no picture decodes" in refusal(noise)


@pytest.mark.parametrize(("transfer", "kind"), [(16, "PQ"), (18, "HLG")])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_hdr_is_refused(tmp_path: Path, name: str, transfer: int, kind: str) -> None:
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": transfer, "color_range": 1}
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    clip = make_clip(
        tmp_path / name, codec="libx265", pix_fmt="yuv420p10le", frames=3, options=options, **tags
    )
    message = refusal(clip)
    assert f"HDR already ({kind})" in message and "SDR master" in message


def test_hdr_in_the_bitstream_alone_is_refused(tmp_path: Path) -> None:
    """A container that says BT.709 around a bitstream that says PQ."""
    options = {
        "preset": "ultrafast",
        "x265-params": "transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc:log-level=none",
    }
    tags = {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 1}
    clip = make_clip(
        tmp_path / "a.mp4",
        codec="libx265",
        pix_fmt="yuv420p10le",
        frames=3,
        options=options,
        **tags,
    )
    assert "PQ" in refusal(clip)


def test_dolby_vision_is_refused(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "a.mp4", codec="libx265", frames=3, options={"x265-params": "log-level=none"}
    )
    data = clip.read_bytes()
    at = data.index(b"stsd") + 16
    assert data[at : at + 4] in {b"hev1", b"hvc1"}
    clip.write_bytes(data[:at] + b"dvhe" + data[at + 4 :])
    assert "Dolby Vision" in refusal(clip)


def test_one_of_several_films_is_read(tmp_path: Path) -> None:
    paths = [
        make_clip(tmp_path / f"{n}.mkv", frames=5, size=size)
        for n, size in enumerate([(64, 48), (128, 96)])
    ]
    both = tmp_path / "both.mkv"
    with av.open(str(both), "w") as out:
        inputs = [av.open(str(path)) for path in paths]
        streams = [out.add_stream_from_template(i.streams.video[0], opaque=True) for i in inputs]
        for inp, stream in zip(inputs, streams, strict=True):
            for packet in inp.demux():
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
            inp.close()
    source = Source(both)
    assert source.info.video_streams == 2
    assert [tuple(p.rgb().shape[:0:-1]) for p in source.pictures()] == [source.info.size] * 5


def test_sources_are_never_written(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=10)
    copy = tmp_path / "copy.mkv"
    shutil.copy(clip, copy)
    source = Source(clip)
    for picture in source.pictures():
        picture.rgb()
    assert clip.read_bytes() == copy.read_bytes()


def test_hlg_is_read_as_the_light_of_a_display_of_1000_nits(tmp_path: Path) -> None:
    # BT.2408-7 table 1: graphics white, 75 % HLG, is 203 nits on a display of 1000 nits, and so 58 % PQ
    grey = np.full((16, 16), 64 + round(0.75 * 876), np.uint16)
    planes = (grey, *(np.full((8, 8), 512, np.uint16) for _ in range(2)))
    path = make_clip(
        tmp_path / "a.mkv", codec="ffv1", pix_fmt="yuv420p10le", size=(16, 16), frames=2, picture=lambda _: planes,
        color_range=1, colorspace=9, color_primaries=9, color_trc=18,
    )  # fmt: skip
    with pytest.raises(InputError, match="is HLG"):
        Source(path, hdr=True)
    codes = [p.codes() for p in Source(path, hdr=True, hlg=True).pictures()]
    assert len(codes) == 2 and torch.allclose(codes[0], torch.tensor(0.58), atol=0.003)


# ---- display


@pytest.mark.parametrize(
    ("tags", "nits"),
    [
        ({"color_primaries": 11, "color_trc": 17}, (72.6, 9.4, 5.1)),  # DCI-P3, gamma 2.6
        ({"color_primaries": 1, "color_trc": 8}, (113.5, 56.8, 51.2)),  # linear
        ({}, (64.9, 13.4, 8.4)),  # BT.709 and BT.1886 where nothing is said
        ({"color_primaries": 1, "color_trc": 1}, (64.9, 13.4, 8.4)),
    ],
)
def test_the_light_of_the_display_that_a_file_is_tagged_with(
    tmp_path: Path, tags: dict[str, int], nits: tuple[float, ...]
) -> None:
    """A red patch as it is coded, in nits of BT.2020 with white at 203."""
    picture = flat("yuv420p", (16, 16), (93, 115, 184))
    clip = make_clip(
        tmp_path / "a.mkv",
        **LOSSLESS,
        size=(16, 16),
        frames=1,
        picture=picture,
        colorspace=1,
        color_range=1,
        **tags,
    )
    source = Source(clip)
    (read,) = source.pictures()
    assert bt2408(read.rgb())[:, 0, 0].tolist() == pytest.approx(nits, rel=0.02)
    wide = tags.get("color_primaries") == 11
    assert len(source.notes) == wide and all("clipped to BT.709" in note for note in source.notes)


def test_unknown_tags_are_named_and_can_be_overruled(tmp_path: Path) -> None:
    picture = flat("yuv420p", (16, 16), (126, 128, 128))
    tags = {"colorspace": 1, "color_range": 1, "color_primaries": 8, "color_trc": 9}
    clip = make_clip(
        tmp_path / "a.mkv", **LOSSLESS, size=(16, 16), frames=1, picture=picture, **tags
    )
    source = Source(clip)
    list(source.pictures())
    assert len(source.notes) == 2
    assert (
        "log100" in source.notes[0]
        and "BT.1886" in source.notes[0]
        and "--input-transfer" in source.notes[0]
    )
    assert (
        "film" in source.notes[1]
        and "BT.709" in source.notes[1]
        and "--input-primaries" in source.notes[1]
    )
    given = Source(clip, transfer="linear", primaries="bt709")
    (read,) = given.pictures()
    assert given.notes == ()
    code = (126 - 16) / 219
    assert bt1886_eotf(read.rgb()).mean().item() == pytest.approx(code, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "tag", "other"),
    [
        ("a.mp4", b"nclx\0\1\0\x0d", b"nclx\0\1\0\5"),  # ISO/IEC 23001-8: primaries, transfer
        ("a.mkv", b"\x55\xba\x81\x0d", b"\x55\xba\x81\5"),  # RFC 9559: TransferCharacteristics
    ],
)
def test_a_container_that_contradicts_its_pictures_is_named(
    tmp_path: Path, name: str, tag: bytes, other: bytes
) -> None:
    tags = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 13}
    clip = make_clip(tmp_path / name, frames=2, **tags)
    assert Source(clip).notes == ()
    data = clip.read_bytes()
    assert data.count(tag) == 1
    clip.write_bytes(data.replace(tag, other))
    source = Source(clip)
    (note,) = source.notes
    assert "gamma28" in note and "srgb" in note and "--input-transfer" in note
    assert source.info.shown.display.transfer == "srgb"
    assert Source(clip, transfer="gamma22").notes == ()
