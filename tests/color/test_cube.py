"""Colour tables: FFmpeg's lut3d filter is the judge of what they mean."""

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from sdr2hdr.color.cube import Cube, cube_lines, lattice, parse_cube


def text_of(cube: Cube) -> str:
    return "".join(cube_lines(cube))


def identity(size: int) -> str:
    return text_of(Cube(lattice(size), "identity"))


def test_a_table_survives_writing_and_reading() -> None:
    torch.manual_seed(0)
    cube = Cube(torch.rand(5, 5, 5, 3), "Night", (0.0, 0.1, 0.0), (1.0, 0.9, 1.5))
    read = parse_cube(text_of(cube))
    assert (read.title, read.low, read.high) == (cube.title, cube.low, cube.high)
    assert torch.allclose(read.table, cube.table, atol=1e-6)


def test_the_identity_changes_nothing() -> None:
    codes = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(parse_cube(identity(17))(codes), codes, atol=1e-5)


def test_a_linear_function_is_met_exactly_between_entries() -> None:
    matrix = torch.tensor([[0.5, 0.3, 0.1], [0.1, 0.7, 0.2], [0.0, 0.2, 0.6]])
    cube = Cube(lattice(9) @ matrix.T)
    codes = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(cube(codes), torch.einsum("ij,jhw->ihw", matrix, codes), atol=1e-5)


def test_greys_come_from_grey_entries_alone() -> None:
    table = torch.rand(9, 9, 9, 3, generator=torch.Generator().manual_seed(3))
    diagonal = torch.arange(9)
    table[diagonal, diagonal, diagonal] = (diagonal / 8).square()[:, None].expand(-1, 3)
    grey = torch.linspace(0, 1, 50)[None, None].expand(3, 1, 50)
    out = Cube(table)(grey)
    assert torch.allclose(out[0], out[1], atol=1e-6) and torch.allclose(out[1], out[2], atol=1e-6)


def test_one_dimension_maps_each_channel_alone_and_clamps() -> None:
    text = "LUT_1D_SIZE 3\n0 0 1\n0.25 0.5 0.5\n1 1 0\n"
    codes = torch.tensor([-1.0, 0.0, 0.25, 0.5, 1.0, 9.0]).expand(3, 1, 6)
    out = parse_cube(text)(codes)
    assert torch.allclose(out[0, 0], torch.tensor([0.0, 0.0, 0.125, 0.25, 1.0, 1.0]))
    assert torch.allclose(out[2, 0], torch.tensor([1.0, 1.0, 0.75, 0.5, 0.0, 0.0]))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is the judge")
def test_ffmpegs_lut3d_agrees(tmp_path: Path) -> None:
    table = (lattice(17) ** torch.tensor([0.5, 1.5, 0.8])).clamp(0, 1)
    table = (
        table + 0.1 * torch.rand(table.shape, generator=torch.Generator().manual_seed(4))
    ).clamp(0, 1)
    cube = Cube(table)
    (tmp_path / "t.cube").write_text(text_of(cube))
    codes = torch.randint(0, 65536, (3, 64, 64), generator=torch.Generator().manual_seed(5))
    planes = codes[[1, 2, 0]].numpy().astype("<u2").tobytes()  # gbrp
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gbrp16le",
        "-s",
        "64x64",
        "-i",
        "-",
    ]
    command += [
        "-vf",
        f"lut3d=file={tmp_path}/t.cube:interp=tetrahedral",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gbrp16le",
        "-",
    ]
    raw = subprocess.run(command, input=planes, capture_output=True, check=True).stdout
    theirs = (
        torch.from_numpy(np.frombuffer(raw, "<u2").astype(np.float32)).view(3, 64, 64)[[2, 0, 1]]
        / 65535
    )
    assert (cube(codes / 65535) - theirs).abs().max() < 2 / 65535 * 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "neither"),
        ("0 0 0\n", "before"),
        ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 7, "7 of 8"),
        ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 9, "more values"),
        ("LUT_3D_SIZE 2\n" + "0 0 nan\n" * 8, "line 2"),
        ("LUT_3D_SIZE 2\nnan 0 0\n", "line 2"),
        ("LUT_3D_SIZE 2\n" + "0 0 inf\n" * 8, "line 2"),
        ("LUT_3D_SIZE 2\n" + "0 0\n" * 8, "line 2"),
        ("LUT_3D_SIZE 1500\n", "1500"),
        ("LUT_3D_SIZE " + "9" * 6000 + "\n", "sizes from 2"),
        ("LUT_3D_SIZE -4\n", "-4"),
        ("LUT_3D_SIZE 2\nLUT_1D_SIZE 2\n", "two tables"),
        ("LUT_3D_SIZE 2\n" + "0 0 1e39\n" * 8, "line 2"),
        ("DOMAIN_MAX 1e-60 1 1\nLUT_1D_SIZE 2\n0 0 0\n1 1 1\n", "empty"),
        ("DOMAIN_MAX 1e39 1 1\nLUT_1D_SIZE 2\n0 0 0\n1 1 1\n", "line 1"),
        ("DOMAIN_MIN 1 1 1\nDOMAIN_MAX 0 0 0\nLUT_1D_SIZE 2\n0 0 0\n1 1 1\n", "empty"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_cause(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        parse_cube(text)
    assert len(str(error.value)) < 200


def test_unknown_keywords_and_comments_are_passed_over() -> None:
    cube = parse_cube("# made by hand\nLUT_OF_A_FRIEND\nLUT_1D_SIZE 2\n0 0 0\n1 1 1\n")
    assert cube.comments == ("made by hand",) and cube.size == 2
    assert math.isclose(float(cube(torch.full((3, 1, 1), 0.3))[0, 0, 0]), 0.3, abs_tol=1e-6)


def test_keywords_may_be_parted_by_tabs_and_titles_hold_any_character() -> None:
    title = 'TITLE "Night\u2028LUT_3D_SIZE 9\x0b0 0 0"\n'
    cube = parse_cube(title + "LUT_1D_SIZE\t2\r\nDOMAIN_MAX\t2 2 2\r\n0\t0\t0\r\n1 1 1\r\n")
    assert (cube.size, cube.high) == (2, (2.0, 2.0, 2.0))


def test_a_table_for_video_range_is_applied_to_the_codes_of_video_range() -> None:
    """DaVinci Resolve's keywords: black is 64 and white 940 of 1023, on the way in and on the way out."""
    size = 17
    text = identity(size).replace("LUT_3D_SIZE", "LUT_IN_VIDEO_RANGE\nLUT_3D_SIZE")
    codes = torch.tensor([0.0, 0.25, 1.0]).expand(3, 1, 3)
    as_video = (64 + 876 * codes) / 1023
    assert torch.allclose(parse_cube(text)(codes), as_video, atol=1e-5)
    both = text.replace("LUT_3D_SIZE", "LUT_OUT_VIDEO_RANGE\nLUT_3D_SIZE")
    assert torch.allclose(parse_cube(both)(codes), codes, atol=1e-5)
