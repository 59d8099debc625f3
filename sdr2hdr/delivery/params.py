"""The options with which another encoder turns a film's frames into HDR10: colour, measured light, and key frames at cuts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdr2hdr.delivery.pipe import Write, rendered
from sdr2hdr.errors import UsageError
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.progress import Watcher
from sdr2hdr.jobs.report import Report
from sdr2hdr.media.encoder import EncodeSettings, try_encoder
from sdr2hdr.media.hdr10 import D65, PRIMARIES, ContentLight, Mastering
from sdr2hdr.options import DEFAULTS, Options
from sdr2hdr.writing import check_free, write_whole


@dataclass(frozen=True)
class _Film:
    """What an encoder is told of a film; ``settings`` are those with which ``convert`` would encode it."""

    settings: EncodeSettings
    mastering: Mastering
    light: ContentLight
    cuts: tuple[int, ...]
    qpfile: Path | None


@dataclass(frozen=True)
class Params:
    """The ``words`` of a command line, the frames at which scenes begin after the first, and the report on the rendering."""

    words: tuple[str, ...]
    cuts: tuple[int, ...]
    report: Report

    def to_json(self) -> dict[str, Any]:
        r = self.report
        return {
            "options": self.words,
            "cuts": self.cuts,
            "mastering_peak": r.mastering_peak,
            "max_cll": r.max_cll,
            "max_fall": r.max_fall,
            "frames": r.frames,
            "notes": r.notes,
        }


def encoder_params(
    src: str | Path,
    encoder: str,
    *,
    qpfile: Path | None = None,
    options: Options = DEFAULTS,
    progress: Watcher = lambda _: None,
    **changes: Any,
) -> Params:
    """Render a film to measure it, and return the options for ``encoder``, a key of :data:`ENCODERS`, that encode its frames
    as ``convert`` would. ``qpfile`` is written for x265: the key frames, one for each scene.

    Raises what :func:`sdr2hdr.delivery.pipe.pipe` raises, and OutputError for a file that cannot be written.
    """
    codec, words = ENCODERS[encoder]
    o = options.changed(**changes, codec=codec, encoder="auto")
    if qpfile is not None:
        if encoder != "x265":
            raise UsageError(f"--qpfile is for x265; {encoder} is told the cuts in its options.")
        if any(letter.isspace() for letter in str(qpfile)):
            raise UsageError(f"{qpfile} has a space in its name, at which shells split options.")
        check_free(qpfile, o.overwrite, Path(src))

    def settings(plan: Plan) -> EncodeSettings:
        return replace(plan.encode, codec=codec, encoder="", crf=o.quality or 0.0, preset=o.speed)

    def writing(plan: Plan) -> Write:
        try_encoder(settings(plan))
        return lambda _planes: None

    report, plan = rendered(src, o, writing, progress, container="none")
    film = _Film(
        settings(plan),
        Mastering("bt2020", float(o.peak)),
        ContentLight(report.max_cll, report.max_fall),
        plan.survey.cuts,
        qpfile,
    )
    if qpfile is not None:
        lines = "".join(f"{cut} I -1\n" for cut in film.cuts)
        write_whole(qpfile, lines.encode(), o.overwrite)
    return Params(tuple(words(film).split()), film.cuts, report)


def _x265(f: _Film) -> str:
    s = f.settings
    chroma = {(1, 0): "422-", (0, 0): "444-"}.get(s.layout.sub, "")
    siting = " --chromaloc 2" if s.is_420 else ""
    depth = s.layout.depth
    return (
        f"--preset {s.preset} --crf {s.crf:g} --output-depth {depth} --profile main{chroma}{depth}"
        f" --keyint {s.keyint} --no-open-gop"
        f" --frame-threads {s.frame_threads} --repeat-headers --hdr10 --hdr10-opt --colorprim bt2020 --transfer smpte2084"
        f" --colormatrix bt2020nc --range limited{siting} --master-display {_in_steps(f.mastering)}"
        f" --max-cll {f.light.max_cll},{f.light.max_fall}{f' --qpfile {f.qpfile}' if f.qpfile else ''}"
    )


def _ffmpeg(f: _Film) -> str:
    s = f.settings
    at = ",".join(f"{float(cut / s.rate):.6f}" for cut in f.cuts)
    keys = f" -force_key_frames {at}" if f.cuts else ""
    siting, chromaloc = (
        (" -chroma_sample_location topleft", ":chromaloc=2") if s.is_420 else ("", "")
    )
    return (
        f"-c:v libx265 -preset {s.preset} -crf {s.crf:g} -pix_fmt {s.pix_fmt}le -g {s.keyint} -forced-idr 1{keys}"
        f" -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv{siting}"
        f" -x265-params repeat-headers=1:open-gop=0:frame-threads={s.frame_threads}:hdr10=1:hdr10-opt=1:colorprim=bt2020"
        f":transfer=smpte2084:colormatrix=bt2020nc:range=limited{chromaloc}:master-display={_in_steps(f.mastering)}"
        f":max-cll={f.light.max_cll},{f.light.max_fall}"
    )


def _svtav1(f: _Film) -> str:
    s = f.settings
    keys = f" --force-key-frames {','.join(f'{cut}f' for cut in f.cuts)}" if f.cuts else ""
    return (
        f"--preset {s.preset} --crf {s.crf:g} --input-depth 10 --keyint {s.keyint} --irefresh-type 2{keys}"
        " --color-primaries 9 --transfer-characteristics 16 --matrix-coefficients 9 --color-range 0"
        f" --chroma-sample-position topleft --mastering-display {_in_decimals(f.mastering)}"
        f" --content-light {f.light.max_cll},{f.light.max_fall}"
    )


ENCODERS: dict[str, tuple[str, Callable[[_Film], str]]] = {
    "x265": ("hevc", _x265),
    "svtav1": ("av1", _svtav1),
    "ffmpeg": ("hevc", _ffmpeg),
}
"""The codec that each encoder writes, and its options."""


def _in_steps(m: Mastering) -> str:
    """The mastering display as x265 reads it: coordinates in steps of 0.00002, luminances of 0.0001 nits."""
    return _display(m, lambda xy: f"{round(xy * 50000)}", lambda nits: f"{round(nits * 10000)}")


def _in_decimals(m: Mastering) -> str:
    """The mastering display as SVT-AV1 reads it: decimals."""
    return _display(m, lambda xy: f"{xy:g}", lambda nits: f"{nits:g}")


def _display(m: Mastering, xy: Callable[[float], str], nits: Callable[[float], str]) -> str:
    red, green, blue = PRIMARIES[m.volume]
    points = {"G": green, "B": blue, "R": red, "WP": D65}
    shown = "".join(f"{name}({xy(x)},{xy(y)})" for name, (x, y) in points.items())
    return f"{shown}L({nits(m.max_nits)},{nits(m.min_nits)})"
