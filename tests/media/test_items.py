"""HEIC and AVIF still pictures: what their files hold besides the picture is used or named, and pictures of tiles are refused."""

import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from photo_makers import ADOBE, P3, photo, picture, profile

from sdr2hdr import convert
from sdr2hdr.errors import InputError
from sdr2hdr.media.info import read_info
from sdr2hdr.media.items import read_items

FAST = {"model": "bt2446a"}
ENDINGS = (".avif", ".jpg", ".mkv")
CROP = "The crop that the source asks for (clap) was left out, so the whole picture is shown."
EXIF, XMP = (f"The {kind} data of the source were left out." for kind in ("EXIF", "XMP"))
Item = tuple[bytes, bytes, tuple[bytes, ...]]  # its kind, its data, and the boxes of its properties
Link = tuple[
    bytes, int, tuple[int, ...]
]  # its kind, the item that refers, and those that it refers to


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def heif(path: Path, items: list[Item], links: tuple[Link, ...] = (), primary: int = 1) -> Path:
    """A still picture by ISO/IEC 14496-12 and 23008-12; items have the numbers 1, 2 and so on."""
    entries, marks, properties = b"", b"", b""
    count = 0
    for number, (kind, _, boxes) in enumerate(items, 1):
        mime = b"application/rdf+xml\0" if kind == b"mime" else b""
        entries += box(b"infe", struct.pack(">IHH4sx", 2 << 24, number, 0, kind), mime)
        marks += struct.pack(">HB", number, len(boxes))
        marks += bytes(range(count + 1, count + 1 + len(boxes)))
        count, properties = count + len(boxes), properties + b"".join(boxes)
    refers = [box(kind, struct.pack(f">{2 + len(to)}H", a, len(to), *to)) for kind, a, to in links]

    def head(start: int) -> bytes:
        places = b""
        for number, (_, data, _) in enumerate(items, 1):
            places += struct.pack(">HHHII", number, 0, 1, start, len(data))
            start += len(data)
        meta = (
            box(b"hdlr", struct.pack(">II4s13x", 0, 0, b"pict")),
            box(b"pitm", struct.pack(">IH", 0, primary)),
            box(b"iloc", struct.pack(">IBBH", 0, 0x44, 0, len(items)), places),
            box(b"iinf", struct.pack(">IH", 0, len(items)), entries),
            box(b"iref", bytes(4), *refers),
            box(b"iprp", box(b"ipco", properties), box(b"ipma", struct.pack(">II", 0, len(items)), marks)),
        )  # fmt: skip
        return box(b"ftyp", b"avif\0\0\0\0mif1avif") + box(b"meta", bytes(4), *meta)

    data = b"".join(data for _, data, _ in items)
    path.write_bytes(head(len(head(0)) + 8) + box(b"mdat", data))
    return path


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Item:
    """A picture of 96x64 in AV1, tagged as sRGB."""
    data = photo(tmp_path_factory.mktemp("coded") / "plain.avif").read_bytes()
    at = data.index(b"av1C") - 4
    config = data[at : at + struct.unpack_from(">I", data, at)[0]]
    size = box(b"ispe", struct.pack(">3I", 0, 96, 64))
    return b"av01", data[data.index(b"mdat") + 4 :], (config, size)


def having(item: Item, *boxes: bytes) -> Item:
    return (*item[:2], (*item[2], *boxes))


def notes(source: Path, ending: str) -> tuple[str, ...]:
    return convert(source, source.with_name(f"{source.stem}-hdr{ending}"), **FAST).notes


@pytest.mark.parametrize(
    ("kind", "words"),
    [(b"grid", "tiles"), (b"iovl", "laid over"), (b"iden", "turned or cropped"), (b"j2k1", "kind")],
)
def test_a_picture_that_is_not_decoded_itself_is_refused(
    coded: Item, tmp_path: Path, kind: bytes, words: str
) -> None:
    how = struct.pack(">4B2H", 0, 0, 0, 1, 192, 64)  # of a grid of two columns
    if kind == b"iovl":
        how = struct.pack(">2x4H2H4h", 0, 0, 0, 0, 192, 64, 0, 0, 96, 0)
    made = kind, how, coded[2][1:]
    path = heif(tmp_path / "made.avif", [coded, coded, made], ((b"dimg", 3, (1, 2)),), primary=3)
    with pytest.raises(InputError, match=rf"{words}.*; convert it to PNG or TIFF first\.$"):
        convert(path, tmp_path / "out.mkv", **FAST)


def test_a_picture_of_tiles_that_ffmpeg_does_not_open_is_refused_for_them(
    coded: Item, tmp_path: Path
) -> None:
    grid = b"grid", b"", coded[2][1:]
    path = heif(tmp_path / "made.avif", [coded, coded, grid], ((b"dimg", 3, (1, 2)),), primary=3)
    with pytest.raises(InputError, match="several tiles"):
        convert(path, tmp_path / "out.mkv", **FAST)


def test_the_picture_to_show_is_converted_wherever_it_lies(coded: Item, tmp_path: Path) -> None:
    path = heif(tmp_path / "b.avif", [coded, coded], ((b"thmb", 1, (2,)),), primary=2)
    assert read_info(path).stream == 1
    assert not notes(path, ".avif")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_known_profile_is_used_and_another_named(
    coded: Item, tmp_path: Path, ending: str
) -> None:
    """It counts more than the tags in the coded picture."""
    for name, primaries, curve in (("P3", P3, None), ("Adobe", ADOBE, 2.2)):
        colour = box(b"colr", b"prof", profile(name, primaries, curve))
        heif(tmp_path / f"{name}.avif", [having(coded, colour)])
    assert read_info(tmp_path / "P3.avif").shown.words == "srgb (profile), p3-d65 (profile)"
    told = " ".join(notes(tmp_path / "P3.avif", ending))
    assert told.count("p3-d65 primaries") == 1
    assert "each picture was read by its own" not in told
    told = " ".join(notes(tmp_path / "Adobe.avif", ending))
    assert (
        told.count("profile of the source (Adobe) is not converted here; it was read as srgb") == 1
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_crop_exif_and_xmp_are_named_once(coded: Item, tmp_path: Path, ending: str) -> None:
    clap = box(b"clap", struct.pack(">4I", 48, 1, 32, 1), struct.pack(">4I", 0, 1, 0, 1))
    whole = box(b"clap", struct.pack(">4I", 192, 2, 64, 1), struct.pack(">4I", 0, 1, 0, 1))
    cropped, plain = having(coded, clap), having(coded, whole)
    told = (b"Exif", bytes(8), ()), (b"mime", b"<x/>", ())
    links = (b"cdsc", 2, (1,)), (b"cdsc", 3, (1,))
    found = notes(heif(tmp_path / "all.avif", [cropped, *told], links), ending)
    assert [found.count(note) for note in (CROP, EXIF, XMP)] == [1, 1, 1]
    assert not {CROP, EXIF, XMP} & {*notes(heif(tmp_path / "none.avif", [plain]), ending)}


def test_exif_data_that_are_kept_are_not_named(tmp_path: Path) -> None:
    image = picture()
    exif = image.getexif()
    exif[0x10F] = "Maker"
    image.save(tmp_path / "a.avif", exif=exif, xmp=b"<x/>")
    found = notes(tmp_path / "a.avif", ".avif")
    assert (found.count(EXIF), found.count(XMP)) == (0, 1)
    assert EXIF in notes(tmp_path / "a.avif", ".mkv")


@pytest.mark.parametrize("ending", ENDINGS)
def test_transparency_is_named_once(tmp_path: Path, ending: str) -> None:
    image = picture()
    image.putalpha(128)
    image.save(tmp_path / "a.avif")
    assert " ".join(notes(tmp_path / "a.avif", ending)).count("transparency left out") == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_pictures_are_named_once(coded: Item, tmp_path: Path, ending: str) -> None:
    depth = having(coded, box(b"auxC", bytes(4), b"urn:mpeg:hevc:2015:auxid:2\0"))
    two = notes(heif(tmp_path / "two.avif", [coded, coded]), ending)
    helped = notes(heif(tmp_path / "map.avif", [coded, depth], ((b"auxl", 2, (1,)),)), ending)
    if ending == ".mkv":
        wanted = ("video stream 1 (av1) left out: one picture is written",) * 2
    else:
        wanted = (
            "Only the main one of 2 pictures in the source was converted.",
            "What belongs to the picture in the source, such as a depth or gain map, was left out.",
        )
    for found, note in zip((two, helped), wanted, strict=True):
        assert [each for each in found if "gain map goes" not in each and "SDR" not in each] == [
            note
        ]


def test_damaged_boxes_say_nothing(coded: Item, tmp_path: Path) -> None:
    """Whatever is written into them or cut off, reading ends without an error."""
    items = [coded, coded, (b"mime", b"<x/>", ())]
    path = heif(tmp_path / "a.avif", items, ((b"auxl", 2, (1,)), (b"cdsc", 3, (1,))))
    data = path.read_bytes()
    end = data.index(b"mdat")
    found, chance = read_items(path), random.Random(5)
    assert found is not None
    for _ in range(600):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(end)] = chance.choice((0, 1, 8, 127, 255))
        path.write_bytes(damaged[: chance.randrange(24, len(data))])
        read_items(path)
    path.write_bytes(data)
    assert read_items(path) == replace(found)
