"""What training reads: folders of stills and of paired frames, good and bad, and what is made of them."""

import binascii
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image
from torch import Tensor

from sdr2hdr.cli.main import main
from sdr2hdr.data.crop import crop, places
from sdr2hdr.data.paired import paired_scenes, sides
from sdr2hdr.data.scene_list import list_scenes, read_scene_list, select
from sdr2hdr.data.stills import Still, load_linear, load_sdr, stills
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.media.png import png_facts, png_of, read_codes, read_png, read_radiance

# --- single pictures


def pixels(bits: int, height: int = 6, width: int = 10, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.uint8 if bits == 8 else torch.int32
    return torch.randint(0, 1 << bits, (3, height, width), generator=generator).to(dtype)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_gives_back_every_bit(bits: int, tmp_path: Path) -> None:
    samples = pixels(bits)
    path = tmp_path / "a%03d.png"  # a name that FFmpeg would take for a pattern
    path.write_bytes(png_of(samples))
    assert torch.equal(read_png(path), samples) and png_facts(path).depth == bits
    assert torch.equal(read_codes(path), samples / (2**bits - 1))
    if bits == 8:  # another decoder (Pillow keeps 8 of 16 bits)
        assert np.array_equal(np.asarray(Image.open(path)), samples.permute(1, 2, 0).numpy())


def tagged(png: bytes, transfer: int) -> bytes:
    """A PNG with a cICP chunk: BT.2020, this transfer, RGB, full range."""
    body = b"cICP" + bytes([9, transfer, 0, 1])
    return (
        png[:33] + struct.pack(">I", 4) + body + struct.pack(">I", binascii.crc32(body)) + png[33:]
    )


def test_a_png_says_what_it_is_tagged(tmp_path: Path) -> None:
    for transfer, name in ((16, "pq"), (18, "hlg"), (13, "srgb")):
        path = tmp_path / f"{name}.png"
        path.write_bytes(tagged(png_of(pixels(16)), transfer))
        assert png_facts(path).transfer == name
        assert torch.equal(read_png(path), pixels(16))


def radiance(light: np.ndarray) -> bytes:
    """A Radiance file with flat pixels, after Ward's "Real Pixels"."""
    mantissa, exponent = np.frexp(light.max(-1))
    scale = np.where(light.max(-1) > 1e-30, mantissa * 256 / np.maximum(light.max(-1), 1e-30), 0)
    rgbe = np.concatenate(
        [(light * scale[..., None]).astype(np.uint8), (exponent + 128).astype(np.uint8)[..., None]],
        -1,
    )
    head = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {light.shape[0]} +X {light.shape[1]}\n"
    return head.encode() + rgbe.tobytes()


def test_a_radiance_picture_is_read_as_linear_light(tmp_path: Path) -> None:
    light = np.random.default_rng(0).uniform(0.001, 500, (12, 24, 3))
    (tmp_path / "a.hdr").write_bytes(radiance(light))
    read = read_radiance(tmp_path / "a.hdr").permute(1, 2, 0).numpy()
    assert np.abs(read - light).max(axis=-1).max() / light.max() < 1 / 128
    (tmp_path / "b.hdr").write_bytes(b"no picture at all")
    with pytest.raises(
        InputError, match=r"b\.hdr is not a Radiance|b\.hdr cannot be read as a Radiance"
    ):
        read_radiance(tmp_path / "b.hdr")


# --- folders of stills


def exr(path: Path, light: np.ndarray, **header: object) -> None:
    kind = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    channels = {"RGB" if light.shape[-1] == 3 else "RGBA": light.astype(np.float32)}
    OpenEXR.File(kind, channels).write(str(path))


def everything(folder: Path) -> dict[str, Still]:
    return {s.name: s for split in ("train", "select", "val") for s in stills(folder, split)}


def test_a_folder_without_a_manifest_answers_for_itself(tmp_path: Path) -> None:
    light = np.random.default_rng(1).uniform(0, 4, (16, 32, 3))
    exr(tmp_path / "room.exr", light)
    exr(tmp_path / "photo.exr", light[:, :20])
    wide = (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)
    exr(tmp_path / "wide.exr", np.concatenate([light, light[..., :1]], -1), chromaticities=wide)
    (tmp_path / "sky.hdr").write_bytes(radiance(light))
    Image.fromarray((light[:, :20] * 60).clip(0, 255).astype(np.uint8)).save(
        tmp_path / "photo.sdr.png"
    )
    (tmp_path / "readme.txt").write_text("not a still")
    found = everything(tmp_path)
    assert set(found) == {"room", "photo", "wide", "sky"}
    assert found["room"].panorama and found["sky"].panorama and not found["photo"].panorama
    assert found["wide"].primaries == "bt2020" and found["room"].primaries == "bt709"
    assert found["photo"].white_is_one and not found["room"].white_is_one
    assert torch.allclose(
        load_linear(found["wide"]).permute(1, 2, 0), torch.from_numpy(light).float()
    )
    assert load_linear(found["sky"]).shape == (3, 16, 32)
    assert load_sdr(found["photo"]).shape == (3, 16, 20)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: None, "neither a manifest.json nor HDR stills"),
        (lambda f: (f / "a.exr").write_bytes(b"nothing"), r"a\.exr cannot be read as OpenEXR"),
        (
            lambda f: (f / "manifest.json").write_text("{"),
            r"manifest\.json cannot be read as a list",
        ),
        (
            lambda f: (
                exr(f / "a.exr", np.ones((8, 8, 3))),
                Image.new("RGB", (4, 8)).save(f / "a.sdr.png"),
            ),
            r"a\.sdr\.png is 4x8, but .*a\.exr is 8x8",
        ),
    ],
)
def test_a_folder_that_is_no_corpus_is_refused(
    spoil: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    spoil(tmp_path)
    with pytest.raises(InputError, match=said):
        everything(tmp_path)


def listed(folder: Path, **change: object) -> None:
    """A manifest with a still that is in order but for these keys, among others that training has no use for."""
    entry = {"file": "a.exr", "split": "train", "projection": "perspective", "primaries": "bt709",
             "white_is_one": False, "tag": "night", "author": "A. Nyone", **change}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({"stills": [entry], "videos": []}))


def test_an_entry_of_a_manifest_that_cannot_be_is_refused_with_its_key(tmp_path: Path) -> None:
    listed(tmp_path)
    assert [s.tag for s in everything(tmp_path).values()] == ["night"]
    for key, value in (
        ("split", "test"),
        ("projection", "foo"),
        ("primaries", "zzz"),
        ("white_is_one", "no"),
        ("tag", None),
        ("file", 7),
    ):
        listed(tmp_path, **{key: value})
        with pytest.raises(InputError, match=rf"manifest\.json .*\('stills\[0\]\.{key}' "):
            everything(tmp_path)
    for text in ("[" * 100000, "[]", "{}", '{"stills": {}}', '{"stills": [7]}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"manifest\.json cannot be read as a list"):
            everything(tmp_path)


def test_a_still_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    exr(tmp_path / "a.exr", np.random.default_rng(0).uniform(0, 1, (64, 64, 3)))
    whole = (tmp_path / "a.exr").read_bytes()
    for length in (len(whole) // 2, len(whole) - 10):
        (tmp_path / "a.exr").write_bytes(whole[:length])
        (still,) = everything(tmp_path).values()
        with pytest.raises(InputError, match=r"a\.exr cannot be read as OpenEXR; get a new copy"):
            load_linear(still)


# --- folders of paired frames


def place(number: int, shift: int, height: int = 80, width: int = 128) -> np.ndarray:
    """A frame 0..1 of one of several made-up places, the camera a little further with each shift."""
    rng = np.random.default_rng(number)
    small = rng.uniform(0, 1, (height // 8 + 8, width // 8 + 8, 3))
    big = np.asarray(small.repeat(8, 0).repeat(8, 1))
    return big[shift : shift + height, 2 * shift : 2 * shift + width]


def pair(folder: Path, name: str, picture: np.ndarray, *, hdr: str = "hdr") -> None:
    codes = torch.from_numpy(picture).permute(2, 0, 1)
    for side, samples in (
        ("sdr", (codes * 255).to(torch.uint8)),
        (hdr, (codes * 40000).to(torch.int32)),
    ):
        path = folder / side / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_of(samples))


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Four places of 9, 5, 8 and 10 frames right in the folders."""
    names = iter(range(100))
    for number, count in enumerate((9, 5, 8, 10)):
        for shift in range(count):
            pair(tmp_path / "set", f"{next(names):03d}", place(number, shift // 3))
    return tmp_path / "set"


def test_frames_are_paired_by_name_scene_by_scene(tmp_path: Path) -> None:
    for scene in ("b", "a"):
        for n in range(3):
            pair(tmp_path, f"{scene}/{n}", place(n, 0, 16, 16))
    scenes = paired_scenes(*sides(tmp_path))
    assert [(s.name, len(s), s.loose) for s in scenes] == [("a", 3, False), ("b", 3, False)]
    sdr, hdr = scenes[0].pair(2)
    assert torch.allclose(hdr * 65535 / 40000, sdr, atol=1 / 255)


def test_the_sides_of_a_data_set_are_found_by_their_names(tmp_path: Path) -> None:
    for name in ("test_sdr", "test_hdr", "notes"):
        (tmp_path / name).mkdir()
    assert [p.name for p in sides(tmp_path)] == ["test_sdr", "test_hdr"]
    for name in ("train_sdr", "train_hdr"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="more than one data set"):
        sides(tmp_path)
    with pytest.raises(InputError, match="no pair of folders of SDR and HDR frames"):
        sides(tmp_path / "notes")


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda f: (f / name).write_bytes(change((f / name).read_bytes()))


BAD = {
    "unpaired": (
        lambda f: (f / "hdr/003.png").unlink(),
        r"sdr/003\.png has no frame of the same name in .*hdr; ",
    ),
    "several": (
        lambda f: [p.unlink() for p in (f / "sdr").glob("01*.png")],
        r"hdr/010\.png .*nor 9 more",
    ),
    "unreadable": (rewrite("sdr/004.png", lambda b: b"GIF89a" + b), r"sdr/004\.png is not a PNG"),
    "cut short": (rewrite("hdr/004.png", lambda b: b[:-40]), r"hdr/004\.png is cut short"),
    "other": (lambda f: (f / "sdr/film.mp4").write_bytes(b"x"), r"film\.mp4 is not a PNG"),
    "size": (
        lambda f: (f / "hdr/002.png").write_bytes(png_of(pixels(16))),
        r"002\.png is 128x80, but .*002\.png is 10x6",
    ),
    "hlg": (
        rewrite("hdr/001.png", lambda b: tagged(b, 18)),
        r"hdr/001\.png is tagged HLG, but is among PQ frames",
    ),
    "depth": (
        lambda f: (f / "hdr/000.png").write_bytes((f / "sdr/000.png").read_bytes()),
        r"000\.png has 8 bits, PQ",
    ),
    "swapped": (
        lambda f: (
            (f / "sdr").rename(f / "x"),
            (f / "hdr").rename(f / "sdr"),
            (f / "x").rename(f / "hdr"),
        ),
        "changed places",
    ),
    "empty": (lambda f: [p.unlink() for p in f.rglob("*.png")], "holds no PNG frames"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_data_set_is_one_sentence_and_nothing_is_written(
    what: str, flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, said = BAD[what]
    spoil(flat)
    with pytest.raises(InputError, match=said):
        paired_scenes(*sides(flat))
    assert main(["dataset", "scenes", str(flat), str(tmp_path / "list.json")]) == 3
    assert main(["dataset", "crop", str(flat), str(tmp_path / "patches")]) == 3
    assert {p.name for p in tmp_path.iterdir()} == {"set"}
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines() if line.strip()] == [
        "Error:"
    ] * 2


def test_frames_of_one_place_are_one_scene_and_short_ones_are_left_out(flat: Path) -> None:
    found = list_scenes(paired_scenes(*sides(flat)))
    assert [len(s.frames) for s in found.scenes] == [9, 8, 10] and found.dropped == 1
    assert found.scenes[1].frames == tuple(f"{n:03d}" for n in range(14, 22))
    with pytest.raises(InputError, match="has 20 frames, the longest has 10"):
        list_scenes(paired_scenes(*sides(flat)), least=20)


def test_scenes_are_split_80_to_20_by_seed(tmp_path: Path) -> None:
    for scene in range(10):
        for n in range(2):
            pair(tmp_path, f"{scene}/{n}", place(scene, 0, 24, 24))
    scenes = paired_scenes(*sides(tmp_path))
    lists = [list_scenes(scenes, least=2, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert all(sum(s.part == "train" for s in found.scenes) == 8 for found in lists)
    drawn = [tuple(s.part for s in found.scenes) for found in lists]
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1


def test_a_list_is_read_back_and_chooses_frames(flat: Path, tmp_path: Path) -> None:
    out = tmp_path / "list.json"
    assert main(["dataset", "scenes", str(flat), str(out), "--seed", "3"]) == 0
    scenes = paired_scenes(*sides(flat))
    listed = read_scene_list(out)
    parts = {part: select(scenes, listed, part) for part in ("train", "test")}
    names = {part: {p.stem for s in found for p in s.sdr} for part, found in parts.items()}
    assert (
        len(parts["train"]) == 2 and len(parts["test"]) == 1 and not names["train"] & names["test"]
    )
    (flat / "sdr/000.png").unlink()
    (flat / "hdr/000.png").unlink()
    with pytest.raises(InputError, match="Frame 000 of scene s000"):
        select(paired_scenes(*sides(flat)), listed, None)


def test_a_test_scene_listed_for_training_too_is_refused(flat: Path, tmp_path: Path) -> None:
    data = json.loads(list_scenes(paired_scenes(*sides(flat))).to_json())
    test = next(s for s in data["scenes"] if s["part"] == "test")
    data["scenes"].append({**test, "name": "again", "part": "train"})
    path = tmp_path / "list.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"\(test\) and in again \(train\)"):
        read_scene_list(path)
    path.write_text("[]")
    with pytest.raises(InputError, match="no list of scenes"):
        read_scene_list(path)


@pytest.mark.parametrize(
    "name", ["../../../escaped", "a/b", "a\\b", "c:", "a\0b", "a\nb", ".a", ""]
)
def test_a_scene_whose_name_is_no_folders_is_refused(
    name: str, flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(list_scenes(paired_scenes(*sides(flat))).to_json())
    data["scenes"][1]["name"] = name
    path = tmp_path / "list.json"
    path.write_text(json.dumps(data))
    out = tmp_path / "a/b/patches"
    command = ["dataset", "crop", str(flat), str(out), "--scenes", str(path), "--part", "all"]
    assert main([*command, "--size", "64"]) == 3
    assert "list.json has a scene named" in " ".join(capsys.readouterr().err.split())
    assert {p.name for p in tmp_path.iterdir()} == {"set", "list.json"}


def test_a_list_that_says_something_twice_or_nothing_is_refused(
    flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = json.loads(list_scenes(paired_scenes(*sides(flat))).to_json())["scenes"]
    path = tmp_path / "list.json"
    for scenes, said in (
        ([listed[0], {**listed[1], "name": "s000"}], "has two scenes named s000"),
        ([{**listed[0], "frames": []}], "lists no frames in s000"),
        ([{**listed[0], "frames": ["001", "002", "001"]}], "lists frame 001 twice in s000"),
        ([], "lists no scenes"),
        ([s for s in listed if s["part"] == "train"], "has no scene for test; ask for --part all"),
    ):
        path.write_text(json.dumps({"scenes": scenes, "seed": 0, "least": 8, "dropped": 0}))
        options = ["--scenes", str(path), "--part", "test", "--size", "64"]
        data = [str(flat / side) for side in ("sdr", "hdr")]
        out = str(tmp_path / "patches")
        assert main(["dataset", "crop", data[0], out, "--hdr", data[1], *options]) == 3
        assert said in " ".join(capsys.readouterr().err.split())
        assert main(["evaluate", *data, "--models", "bt2408", *options[:4]]) == 3
        assert said in " ".join(capsys.readouterr().err.split())
    assert {p.name for p in tmp_path.iterdir()} == {"set", "list.json"}


def test_patches_lie_on_their_grid_and_reach_the_border() -> None:
    assert places(128, 128, 240) == [0] and places(1080, 128, 240) == [0, 240, 480, 720, 952]
    assert places(100, 128, 240) == [] and places(368, 128, 240) == [0, 240]


def test_patches_are_the_pixels_of_their_places(flat: Path, tmp_path: Path) -> None:
    scenes = select(paired_scenes(*sides(flat)), list_scenes(paired_scenes(*sides(flat))), None)
    made = crop(scenes, tmp_path / "out", size=64, step=48)
    cut = paired_scenes(*sides(tmp_path / "out"))
    assert made == sum(len(s) for s in cut) == 27 * 2 * 3
    assert {s.name for s in cut} >= {"s000_y0000_x0000", "s000_y0016_x0064"} and {
        len(s) for s in cut
    } == {8, 9, 10}
    whole, patch = scenes[0], next(s for s in cut if s.name == "s000_y0016_x0048")
    for part, picture in zip(patch.pair(4), whole.pair(4), strict=True):
        assert torch.equal(part, picture[:, 16:80, 48:112])
    with pytest.raises(OutputError, match="exists"):
        crop(scenes, tmp_path / "out")


def test_frames_smaller_than_a_patch_are_refused_before_anything_is_written(
    flat: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"128x80, too small for patches of 128"):
        crop(paired_scenes(*sides(flat)), tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))
