"""``sdr2hdr dataset``: prepares folders of paired SDR and HDR frames for training."""

from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from sdr2hdr.cli import values
from sdr2hdr.cli.screen import console

_SIDES = (
    click.argument("folder", type=click.Path(path_type=Path)),
    click.option(
        "--hdr",
        type=click.Path(path_type=Path),
        default=None,
        help="Folder of HDR frames; FOLDER is then the SDR one.",
    ),
)


def _with_sides(command: Any) -> Any:
    for add in reversed(_SIDES):
        command = add(command)
    return command


@click.group()
def dataset() -> None:
    """Prepare folders of paired frames (8-bit SDR PNG, 16-bit PQ PNG: HDRTV1K, HDRTV4K) for training.

    \b
    Example:
      sdr2hdr dataset scenes HDRTV4K/ scenes.json
      sdr2hdr dataset crop HDRTV4K/ patches/ --scenes scenes.json
    """


@dataset.command()
@_with_sides
@click.argument("list", type=click.Path(path_type=Path), metavar="LIST")
@click.option(
    "--least",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Minimum frames of a scene.",
)
@click.option(
    "--share",
    type=values.Range(0, 1, min_open=True),
    default=0.8,
    show_default=True,
    help="Share of the scenes used for training.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed that decides which scenes these are.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace an existing LIST.")
def scenes(
    folder: Path, list: Path, hdr: Path | None, least: int, share: float, seed: int, overwrite: bool
) -> None:
    """Group the frames of a data set into scenes and split these into training and test scenes.

    FOLDER holds a folder of SDR frames and one of HDR frames (for example sdr and hdr, or train_sdr and train_hdr). If it
    holds those of tests as well (test_sdr and test_hdr), the training frames are read.
    Frames are read in the order of their names. Each sub-folder begins a scene, and so does each cut.

    \b
    Example:
      sdr2hdr dataset scenes HDRTV4K/ scenes.json
    """
    from sdr2hdr.data.paired import paired_scenes, sides
    from sdr2hdr.data.scene_list import list_scenes
    from sdr2hdr.writing import check_free, write_whole

    check_free(list, overwrite)
    terminal = console(stderr=True)
    pairs = paired_scenes(*((folder, hdr) if hdr else sides(folder, "train")))
    with Progress(console=terminal) as bar:
        task = bar.add_task("Finding scenes")
        found = list_scenes(
            pairs,
            least=least,
            share=share,
            seed=seed,
            progress=lambda d, t: bar.update(task, completed=d, total=t),
        )
    write_whole(list, found.to_json().encode(), overwrite)
    parts = {p: [s for s in found.scenes if s.part == p] for p in ("train", "test")}
    counts = ", ".join(
        f"{len(s)} to {p} on ({sum(len(x.frames) for x in s)} frames)" for p, s in parts.items()
    )
    terminal.print(
        f"{len(found.scenes)} scenes: {counts}; {found.dropped} shorter than {least} frames left out."
    )


@dataset.command()
@_with_sides
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--size",
    type=click.IntRange(8),
    default=128,
    show_default=True,
    help="Width and height of a patch in pixels.",
)
@click.option(
    "--step",
    type=click.IntRange(1),
    default=240,
    show_default=True,
    help="Distance from one patch to the next in pixels.",
)
@click.option(
    "--scenes", type=click.Path(path_type=Path), default=None, help="Only the scenes of this list."
)
@click.option(
    "--part",
    type=click.Choice(["train", "test", "all"]),
    default="train",
    show_default=True,
    help="Which scenes of the list.",
)
def crop(
    folder: Path, out: Path, hdr: Path | None, size: int, step: int, scenes: Path | None, part: str
) -> None:
    """Cut paired frames into patches: OUT/sdr and OUT/hdr, with a folder for each position in each scene.

    If the data set has compressed SDR (train_lq), OUT/lq gets its patches.

    \b
    Example:
      sdr2hdr dataset crop HDRTV4K/ patches/ --scenes scenes.json
    """
    from sdr2hdr.data.crop import crop as cut
    from sdr2hdr.data.paired import paired_scenes, sides, with_compressed
    from sdr2hdr.data.scene_list import select_from

    left, right = (folder, hdr) if hdr else sides(folder, "test" if part == "test" else "train")
    pairs = with_compressed(paired_scenes(left, right), left)
    if scenes is not None:
        pairs = select_from(pairs, scenes, part)
    terminal = console(stderr=True)
    with Progress(console=terminal) as bar:
        task = bar.add_task("Cutting")
        made = cut(
            pairs,
            out,
            size=size,
            step=step,
            progress=lambda d, t: bar.update(task, completed=d, total=t),
        )
    terminal.print(f"{made} pairs of patches of {size} pixels in {out}.")


@dataset.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--qp",
    type=click.IntRange(1, 51),
    required=True,
    help="Quantisation parameter of all pictures.",
)
@click.option(
    "--films",
    is_flag=True,
    help="Code the frames of each sub-folder together, as a film, and not every picture alone.",
)
@click.option(
    "--program",
    type=click.Path(path_type=Path),
    default=None,
    help="Program that codes and decodes instead of x265, such as a script around HM (docs/datasets.md).",
)
def compress(folder: Path, out: Path, qp: int, films: bool, program: Path | None) -> None:
    """Compress SDR frames at one QP (x265), every picture alone, as KPNet is trained and tested.

    FOLDER holds 8-bit SDR PNG frames, in folders or not. OUT gets frames of the same names.

    \b
    Examples:
      sdr2hdr dataset compress HDRTV1K/test_sdr qp32/test_sdr --qp 32
      sdr2hdr dataset compress films/train_sdr films/train_lq --qp 32 --films
    """
    from sdr2hdr.data.compress import compress as code

    terminal = console(stderr=True)
    with Progress(console=terminal) as bar:
        task = bar.add_task("Compressing")
        made = code(
            folder,
            out,
            qp,
            films=films,
            program=program,
            progress=lambda d, t: bar.update(task, completed=d, total=t),
        )
    terminal.print(f"{made} frames at QP {qp} in {out}.")
