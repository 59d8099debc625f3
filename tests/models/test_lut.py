"""Colour tables as a model."""

from pathlib import Path

import pytest
import torch

from sdr2hdr.color.cube import Cube, cube_lines, lattice
from sdr2hdr.errors import ModelError
from sdr2hdr.render.renderer import Renderer
from sdr2hdr.weights.opened import open_model


def write(path: Path, cube: Cube) -> Path:
    path.write_text("".join(cube_lines(cube)))
    return path


def test_a_baked_mapping_gives_what_the_mapping_gives(tmp_path: Path) -> None:
    mapping = open_model("bt2446a").model
    entries = lattice(65).flatten(0, 1).movedim(-1, 0)  # 3,65*65,65
    codes, _ = mapping(entries[None, None], {})
    file = write(tmp_path / "a.cube", Cube(codes[0, 0].movedim(0, -1).reshape(65, 65, 65, 3)))
    loaded = open_model("lut", file)
    assert loaded.entry is not None and loaded.spec.name == "lut"
    frames = torch.rand(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.2
    found, _ = Renderer(loaded.model, loaded.spec, (32, 32), peak=1000.0).model(frames, {})
    expected, _ = mapping(frames, {})
    assert (found - expected).abs().mean() * 1023 < 0.05


def test_the_file_alone_names_the_model(tmp_path: Path) -> None:
    file = write(tmp_path / "b.cube", Cube(torch.tensor([[0.0] * 3, [0.5] * 3])))
    codes, _ = open_model(str(file)).model(torch.ones(1, 1, 3, 2, 2), {})
    assert torch.allclose(codes, torch.full_like(codes, 0.5))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"LUT_3D_SIZE 900\n", b"LUT_3D_SIZE 2\n0 0 0\n"]
)
def test_a_file_that_is_no_table_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "c.cube"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"c\.cube") as error:
        open_model("lut", file)
    assert "\n" not in str(error.value)


def test_without_a_table_the_message_names_the_option() -> None:
    with pytest.raises(ModelError, match="--lut FILE"):
        open_model("lut")


def test_a_comment_in_another_code_than_utf8_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "d.cube"
    file.write_bytes("# gr\xfcn\n".encode("latin-1") + b"LUT_1D_SIZE 2\n0 0 0\n1 1 1\n")
    codes, _ = open_model("lut", file).model(torch.full((1, 1, 3, 1, 1), 0.25), {})
    assert torch.allclose(codes, torch.full_like(codes, 0.25))


def test_a_table_with_many_digits_is_read(tmp_path: Path) -> None:
    file = tmp_path / "e.cube"
    rows = "\n".join(["0.123456789012345678 0.123456789012345678 0.123456789012345678"] * 65**3)
    file.write_text(f"LUT_3D_SIZE 65\n{rows}\n")
    assert file.stat().st_size > 16 << 20
    codes, _ = open_model("lut", file).model(torch.zeros(1, 1, 3, 1, 1), {})
    assert torch.allclose(codes, torch.full_like(codes, 0.123456789))
