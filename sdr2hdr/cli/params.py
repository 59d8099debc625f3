"""``sdr2hdr params``: the options with which another encoder makes HDR10 of a film's frames."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from sdr2hdr.cli.convert import Screen
from sdr2hdr.cli.options import conversion_options
from sdr2hdr.cli.screen import say, show_json, show_text


@click.command()
@click.argument("source", type=click.Path(path_type=Path, readable=False), metavar="IN")
@click.option(
    "--for", "encoder", type=click.Choice(["x265", "svtav1", "ffmpeg"]), required=True,
    help="The program that will encode the frames; ffmpeg with libx265.",
)  # fmt: skip
@click.option(
    "--qpfile", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="Write the key frames, one for each scene, to a file for x265.",
)  # fmt: skip
@conversion_options("params")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the options and what was measured as JSON."
)
@click.option("-q", "--quiet", is_flag=True, help="Print only the options, and errors.")
def params(
    source: Path, encoder: str, qpfile: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Print the options with which another encoder makes HDR10 of the frames that `convert IN -` writes.

    IN is rendered once to measure MaxCLL and MaxFALL. Give both commands the same options, and encode with the words that are
    printed (docs/delivering.md).

    \\b
    Examples:
      sdr2hdr params film.mp4 --for svtav1
      sdr2hdr params film.mp4 --for x265 --qpfile film.qp
    """
    screen = Screen(quiet)
    with screen.shown():
        from sdr2hdr.delivery.params import encoder_params

        found = encoder_params(source, encoder, qpfile=qpfile, progress=screen, **options)
    if as_json:
        show_json(found.to_json())
        return
    if not quiet:
        for note in found.report.notes:
            say(note)
    # a shell that inserts the words splits them at spaces and reads no quotes; a person copies them into one that does
    show_text((shlex.join if sys.stdout.isatty() else " ".join)(found.words) + "\n")
