"""Options that commands share."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import click

from sdr2hdr.cli import values

F = TypeVar("F", bound=Callable[..., Any])

_CONVERSION = (
    click.option(
        "--model",
        default="wmnet",
        show_default=True,
        shell_complete=values.models,
        help="A model or a named weight; `sdr2hdr models` lists them.",
    ),
    click.option(
        "--weights", default=None, metavar="NAME|FILE", help="Other weights: a named one, or a .safetensors file."
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        shell_complete=values.one_of("auto", "cpu", "cuda"),
        help="auto, cpu, cuda or cuda:N.",
    ),
    click.option(
        "--precision",
        default="auto",
        show_default=True,
        shell_complete=values.one_of("auto", "float32", "bfloat16", "float16"),
        help="auto, float32, bfloat16 or float16.",
    ),
    click.option(
        "--codec",
        default="hevc",
        show_default=True,
        shell_complete=values.one_of("hevc", "av1"),
        help="hevc (libx265) or av1 (libsvtav1).",
    ),
    click.option(
        "--container",
        default=None,
        shell_complete=values.one_of("mkv", "mp4", "mov"),
        help="mkv, mp4 or mov; by default OUT's ending says.",
    ),
    click.option(
        "--crf", type=float, default=None, help="Quality, lower is better.  [default: 16 for hevc, 22 for av1]"
    ),
    click.option("--preset", default=None, help="The encoder's speed.  [default: medium for hevc, 6 for av1]"),
    click.option(
        "--peak", type=int, default=1000, show_default=True, help="Brightest light written, in nits, 400 to 4000."
    ),
    click.option(
        "--white", type=int, default=203, show_default=True, help="Nits of SDR reference white; scales all light."
    ),
    click.option("--scenes", default="auto", show_default=True, metavar="auto|none|FILE", help="Where the scenes are."),
    click.option(
        "--look",
        default="scene",
        show_default=True,
        metavar="scene|film",
        shell_complete=values.one_of("scene", "film"),
        help="Where a scene's look is read: in the scene, or half of it in the whole film (graded as one).",
    ),
    click.option(
        "--exposures",
        default=None,
        metavar="CYCLE|FILE",
        help="Exposures that alternate (hdrvdiff): 1,1/4 or ev:0,-2, or a file with one a frame.  [default: what EXIF says]",
    ),
    click.option(
        "--input-matrix", default=None, help="The source's Y'CbCr matrix, over its tags: bt709, bt601, bt2020nc, ..."
    ),
    click.option("--input-range", default=None, help="The source's range, over its tags: limited or full."),
    click.option("--strict", is_flag=True, help="Refuse a source with any damage instead of converting what decodes."),
    click.option("-y", "overwrite", is_flag=True, help="Replace OUT if it exists."),
    click.option(
        "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that render chunks."
    ),
    click.option(
        "--tile",
        type=click.IntRange(64),
        default=None,
        help="Largest edge computed at once.  [default: from free memory]",
    ),
    click.option(
        "--chunk-frames",
        type=click.IntRange(1),
        default=96,
        show_default=True,
        help="Least frames of a unit of resuming.",
    ),
    click.option("--keep-work", is_flag=True, help="Keep the work folder beside OUT."),
)


def conversion_options(function: F) -> F:
    """What decides a conversion: of one file, or of each in a folder."""
    for option in reversed(_CONVERSION):
        function = option(function)
    return function


def stop_on_term() -> None:
    """A polite end (SIGTERM) is taken as Ctrl-C: work is kept and a line says so."""

    def stop(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
