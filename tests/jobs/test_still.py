"""Stills: AVIF and Ultra HDR files of photos, read back by other programs and straight from the specifications."""

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from judges import ffprobe, mediainfo
from numpy.typing import NDArray
from photo_makers import ADOBE, P3, photo, picture, profile
from PIL import Image

from sdr2hdr import convert
from sdr2hdr.errors import InputError, OutputError, UsageError
from sdr2hdr.jobs.report import Report
from sdr2hdr.media.jpeg import Jpeg

FAST = {"model": "bt2446a"}
Array = NDArray[Any]


def pq(nits: Array) -> Array:
    """SMPTE ST 2084 equation 5.2."""
    y = np.power(np.maximum(nits, 0) / 10000, 2610 / 16384)
    return np.power((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y), 2523 / 32)


def parts(path: Path) -> tuple[bytes, bytes]:
    """The base and the gain map of an Ultra HDR file, by its multi-picture index (CIPA DC-007)."""
    data = path.read_bytes()
    start = data.index(b"MPF\0") + 4
    assert data[start : start + 8] == b"MM\0*\0\0\0\x08"
    count = struct.unpack_from(">H", data, start + 8)[0]
    fields = [struct.unpack_from(">HHII", data, start + 10 + 12 * i) for i in range(count)]
    where = next(value for tag, _, _, value in fields if tag == 0xB002)
    first = struct.unpack_from(">III", data, start + where)
    second = struct.unpack_from(">III", data, start + where + 16)
    assert first == (0x030000, start + second[2], 0)
    assert start + second[2] + second[1] == len(data)
    return data[: first[1]], data[start + second[2] :]


def iso(gain_map: bytes) -> list[float]:
    """Base and alternate headroom, low, high, gamma, and both offsets, by ISO 21496-1."""
    name = b"urn:iso:std:iso:ts:21496-1\0"
    at = gain_map.index(name) + len(name)
    assert gain_map[at : at + 5] == b"\0\0\0\0\x40"  # one set of values, primaries of the base
    numbers = struct.unpack_from(">IIIIiIiIIIiIiI", gain_map, at + 5)
    return [a / b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]


def hdr(path: Path, luminances: tuple[float, float, float] = (0.2126, 0.7152, 0.0722)) -> Array:
    """Luminance in nits of the HDR picture in an Ultra HDR file, on a display with all the headroom it asks for."""
    base, gain_map = parts(path)
    low, high, gamma, base_offset, offset = iso(gain_map)[2:]
    sdr, gains = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) / 255 for data in (base, gain_map)
    )
    light = np.where(sdr <= 0.04045, sdr / 12.92, ((sdr + 0.055) / 1.055) ** 2.4)
    stops = low + np.power(gains, 1 / gamma) * (high - low)
    nits: Array = 203 * np.maximum((light + base_offset) * 2**stops - offset, 0)
    return nits @ np.array(luminances)


def luma(path: Path) -> Array:
    """Y' of an AVIF, 0..1."""
    with av.open(str(path), "r") as file:
        frame = next(file.decode(video=0))
    plane = frame.planes[0]
    codes = np.frombuffer(bytes(plane), np.uint16).reshape(plane.height, -1)[:, : plane.width]
    return (codes.astype(float) - 64) / 876


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stills")


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, Report]:
    """A grey photo with detail as both kinds of still; greys have the same luma in every order of light and code."""
    source = folder / "grey.png"
    picture(162, 120).convert("L").convert("RGB").save(source)
    return {end: convert(source, folder / f"hdr{end}", **FAST) for end in (".avif", ".jpg")}


def test_an_avif_is_ten_bit_pq_with_its_light(made: dict[str, Report], folder: Path) -> None:
    path, report = folder / "hdr.avif", made[".avif"]
    entries = "stream=codec_name,pix_fmt,width,height,color_range,color_space,color_transfer,color_primaries"
    (stream,) = ffprobe(path, "-show_entries", entries)["streams"]
    assert stream == {
        "codec_name": "av1", "width": 162, "height": 120, "pix_fmt": "yuv420p10le", "color_range": "tv",
        "color_space": "bt2020nc", "color_transfer": "smpte2084", "color_primaries": "bt2020",
    }  # fmt: skip
    facts = mediainfo(path, "Image")
    assert facts["extra"]["MaxCLL"] == f"{report.max_cll} cd/m2"
    assert facts["extra"]["MaxFALL"] == f"{report.max_fall} cd/m2"
    assert "max: 1000 cd/m2" in facts["extra"]["MasteringDisplay_Luminance"]


def test_both_kinds_show_the_same_picture(made: dict[str, Report], folder: Path) -> None:
    from_gains, from_avif = pq(hdr(folder / "hdr.jpg")), luma(folder / "hdr.avif")
    codes = 876 * np.abs(from_gains - from_avif)
    assert codes.mean() < 2  # 10-bit codes: dither, AV1 and two JPEGs
    assert np.percentile(codes, 99) < 12
    assert hdr(folder / "hdr.jpg").max() == pytest.approx(made[".jpg"].max_cll, rel=0.05)


def test_a_jpeg_stays_what_it_is_for_sdr_viewers(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    source = photo(tmp_path / "a.jpg", (97, 65), exif=exif, subsampling=2, progressive=True)
    report = convert(source, tmp_path / "b.jpg", **FAST)
    assert (report.width, report.height) == (65, 97)  # upright, and odd
    base, gain_map = parts(tmp_path / "b.jpg")
    with Image.open(source) as before, Image.open(tmp_path / "b.jpg") as after:
        assert after.size == before.size
        assert after.tobytes() == before.tobytes()
        assert dict(after.getexif()) == dict(before.getexif())
    assert Image.open(io.BytesIO(gain_map)).size == (97, 65)  # lies as the base does
    assert Jpeg.of(base, source).scans == Jpeg.of(source.read_bytes(), source).scans
    convert(source, tmp_path / "b.avif", **FAST)
    with Image.open(tmp_path / "b.avif") as after:  # libavif
        assert after.size == (66, 98)
        kept = dict(after.getexif())
    assert kept == {0x010F: "Maker", 0x0112: 1}
    bright = hdr(tmp_path / "b.jpg")
    assert bright[-1, -1] > 3 * bright[0, -1] > bright[0, 0]  # white, red, black where they were


def test_the_words_and_the_bytes_of_a_gain_map_agree(made: dict[str, Report], folder: Path) -> None:
    base, gain_map = parts(folder / "hdr.jpg")
    words = dict(re.findall(r'hdrgm:(\w+)="([^"]*)"', gain_map.decode("latin-1")))
    names = ("HDRCapacityMin", "HDRCapacityMax", "GainMapMin", "GainMapMax", "Gamma", "OffsetSDR")
    values = [float(words[name]) for name in (*names, "OffsetHDR")]
    assert values == pytest.approx(iso(gain_map), abs=1e-6)
    assert (words["Version"], words["BaseRenditionIsHDR"]) == ("1.0", "False")
    assert f'Item:Length="{len(gain_map)}"'.encode() in base
    assert b'hdrgm:Version="1.0"' in base
    assert b"urn:iso:std:iso:ts:21496-1\0\0\0\0\0" in base


def test_the_directory_goes_into_the_xmp_that_is_there(tmp_path: Path) -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="mine"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    source = photo(tmp_path / "a.jpg", xmp=xmp)
    convert(source, tmp_path / "b.jpg", **FAST)
    rdf, container = (
        "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}",
        "{http://ns.google.com/photos/1.0/container/",
    )
    root = ElementTree.fromstring(Image.open(tmp_path / "b.jpg").info["xmp"])
    found = list(root.iter(f"{rdf}Description"))
    assert [each.get(f"{rdf}about") for each in found] == ["uuid:1", "uuid:1"]
    assert found[0].get("{http://purl.org/dc/elements/1.1/}format") == "mine"
    items = [item.get(f"{container}item/}}Semantic") for item in root.iter(f"{container}}}Item")]
    assert items == ["Primary", "GainMap"]
    again = convert(
        tmp_path / "b.jpg", tmp_path / "c.jpg", **FAST
    )  # which has a gain map of its own
    assert any("XMP" in note for note in again.notes)
    assert any("What follows the picture" in note for note in again.notes)
    assert len(parts(tmp_path / "c.jpg")) == 2
    flat = convert(tmp_path / "b.jpg", tmp_path / "d.avif", **FAST)
    assert any("What follows the picture" in note for note in flat.notes)


@pytest.mark.parametrize(
    ("colours", "gamma", "display"),
    [(P3, None, "srgb (profile), p3-d65 (profile)"), (ADOBE, 2.2, "srgb (untagged rule), bt709 (untagged rule)")],
)  # fmt: skip
def test_colour_profiles_are_read_or_named(
    tmp_path: Path, colours: Any, gamma: float | None, display: str
) -> None:
    source = photo(tmp_path / "a.jpg", icc_profile=profile("Mine", colours, gamma))
    report = convert(source, tmp_path / "b.jpg", **FAST)
    assert report.input_display == display
    named = [note for note in report.notes if "colour profile" in note]
    assert ["(Mine)" in note for note in named] == ([True] if gamma else [])
    with Image.open(tmp_path / "b.jpg") as after:
        assert after.info["icc_profile"] == profile("Mine", colours, gamma)


@pytest.mark.parametrize("ending", ["png", "webp", "tiff", "bmp"])
def test_other_stills_are_read_too(tmp_path: Path, ending: str) -> None:
    source = photo(
        tmp_path / f"a {{1}}.{ending}", **({"lossless": True} if ending == "webp" else {})
    )
    report = convert(source, tmp_path / "b.jpg", **FAST)
    assert report.input_display.startswith("srgb")
    with Image.open(source) as before, Image.open(tmp_path / "b.jpg") as after:
        difference = np.asarray(before.convert("RGB")).astype(int) - np.asarray(after)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("ending", ["jpg", "tif", "pgm", "jp2"])
def test_grey_pictures_have_full_range(tmp_path: Path, ending: str) -> None:
    """PNG says so; of the other formats FFmpeg says nothing."""
    grey = Image.linear_gradient("L")  # black to white
    grey.save(tmp_path / "a.png")
    grey.save(tmp_path / f"b.{ending}", **({"quality": 100} if ending == "jpg" else {}))
    reports = [
        convert(tmp_path / name, tmp_path / f"{name}.avif", **FAST)
        for name in ("a.png", f"b.{ending}")
    ]
    assert [" full " in report.input_colour for report in reports] == [True, True]
    lights = [report.measured_max_cll for report in reports]
    assert lights[1] == pytest.approx(lights[0], rel=0.02)


def test_transparency_and_unused_options_are_named(tmp_path: Path) -> None:
    picture().convert("RGBA").save(tmp_path / "a.png")
    report = convert(tmp_path / "a.png", tmp_path / "b.jpg", **FAST, crf=20, no_audio=True)
    assert "transparency left out: HDR10 pictures are opaque" in report.notes
    assert "Not used for a still picture: --crf, --no-audio." in report.notes


def test_transparency_of_a_palette_is_named_where_a_colour_of_the_picture_has_it(
    tmp_path: Path,
) -> None:
    pixels = picture().convert("P")
    alphas = {"opaque": 255, "clear": 100}
    for name, alpha in alphas.items():
        unused = sorted({*range(256)} - {*pixels.tobytes()})
        table = [0 if number in unused else alpha for number in range(256)]
        pixels.save(tmp_path / f"{name}.png", transparency=bytes(table))
        report = convert(tmp_path / f"{name}.png", tmp_path / f"{name}.jpg", **FAST)
        assert any("transparency left out" in note for note in report.notes) is (name == "clear")


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (255, 255, 255)).save(tmp_path / "one.png")
    assert convert(tmp_path / "one.png", tmp_path / "one.jpg", **FAST).max_cll > 203
    with pytest.raises(InputError, match="at least 4 pixels a side"):
        convert(tmp_path / "one.png", tmp_path / "one.avif", **FAST)


def test_what_is_no_still_is_refused(tmp_path: Path) -> None:
    first, second = picture(), picture().rotate(180)
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    first.save(tmp_path / "moving.png", save_all=True, append_images=[second])
    first.save(tmp_path / "moving.webp", save_all=True, append_images=[second])
    first.convert("CMYK").save(tmp_path / "print.jpg")
    first.convert("CMYK").save(tmp_path / "print.tif")
    first.save(tmp_path / "packed.tif", compression="jpeg")
    whole = photo(tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    for name, why in (
        ("moving.gif", "is an animation"), ("moving.png", "is an animation"), ("print.jpg", "CMYK"), ("cut.jpg", "cut short"),
        ("moving.webp", "is an animated WebP"), ("print.tif", "CMYK"), ("packed.tif", "a TIFF with JPEG compression"),
    ):  # fmt: skip
        for ending in (".avif", ".jpg"):
            with pytest.raises(InputError, match=why):
                convert(tmp_path / name, tmp_path / f"out{ending}", **FAST)
    with pytest.raises(OutputError, match="the source itself"):
        convert(tmp_path / "whole.jpg", tmp_path / "whole.jpg", **FAST, overwrite=True)
    with pytest.raises(UsageError, match="--hdr10plus is for films"):
        convert(tmp_path / "whole.jpg", tmp_path / "out.avif", **FAST, hdr10plus=True)
    assert not list(tmp_path.glob("out*"))


def test_pictures_for_print_become_no_film(tmp_path: Path) -> None:
    """FFmpeg decodes CMYK as if it were RGB."""
    shots = tmp_path / "shots"
    shots.mkdir()
    picture().convert("CMYK").save(shots / "01.jpg")
    for source, fps in ((shots / "01.jpg", None), (shots, "25")):
        with pytest.raises(InputError, match=r"01\.jpg is a CMYK picture"):
            convert(source, tmp_path / "out.mkv", **FAST, fps=fps)


def test_a_kind_of_picture_without_a_decoder_is_no_video(tmp_path: Path) -> None:
    jpeg_xl = "ff0add0600128802004d3b5de5120000152aa38c1bbc9cebf9f24387c5b48deb0c6db56d61492201"
    (tmp_path / "a.jxl").write_bytes(bytes.fromhex(jpeg_xl))
    with pytest.raises(InputError, match=r"a\.jxl is a kind of picture that is not read here"):
        convert(tmp_path / "a.jxl", tmp_path / "out.avif", **FAST)


def test_a_targa_whose_name_could_be_a_pattern(tmp_path: Path) -> None:
    """A Targa begins with no sign of its own, so FFmpeg knows it by its name alone."""
    picture().save(tmp_path / "shot_%d.tga")
    assert convert(tmp_path / "shot_%d.tga", tmp_path / "out.avif", **FAST).frames == 1


def test_a_picture_that_claims_to_be_huge_is_refused_at_once(tmp_path: Path) -> None:
    data = bytearray(photo(tmp_path / "a.png").read_bytes())
    struct.pack_into(">II", data, 16, 60000, 60000)  # IHDR
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(InputError, match="that does not decode"):
        convert(tmp_path / "huge.png", tmp_path / "b.jpg", **FAST)


def test_words_of_a_camera_that_are_not_utf8(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = b"\xa9 Maker"
    source = photo(tmp_path / "a.jpg", exif=exif)
    assert convert(source, tmp_path / "b.jpg", **FAST).frames == 1
    assert b"\xa9 Maker" in (tmp_path / "b.jpg").read_bytes()
