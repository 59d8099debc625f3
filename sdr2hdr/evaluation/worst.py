"""The worst frames of a measurement, shown side by side with a map of their error."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sdr2hdr.color.ictcp import delta_e_itp
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.evaluation.scores import Score
from sdr2hdr.views.falsecolour import font
from sdr2hdr.views.pictures import fit, image, on_screen

TOP = 40.0
"""dE_ITP of the map's brightest colour."""

_COLOURS = torch.tensor(
    [
        (0.0, 0.0, 0.02),
        (0.32, 0.07, 0.43),
        (0.73, 0.21, 0.33),
        (0.98, 0.56, 0.04),
        (0.99, 1.0, 0.64),
    ]
)
_WIDTH, _GAP, _HEAD, _GROUND = 480, 8, 44, (24, 24, 24)


@dataclass(frozen=True)
class _Kept:
    badness: float
    score: Score
    result: Tensor
    truth: Tensor
    sdr: Tensor | None


class Worst:
    """Keeps the pictures of the worst frames of each model: by dE_ITP, else PSNR; one of a scene at most."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: dict[str, dict[str, _Kept]] = {}

    def offer(
        self, score: Score, result: Tensor, truth: Tensor | None, sdr: Tensor | None = None
    ) -> None:
        """A frame that was measured: PQ codes ``3,H,W`` of result and truth, and R'G'B' of its SDR source, if there is one."""
        values = score.values
        if truth is None or not self._count or not ("de_itp" in values or "psnr" in values):
            return
        badness = values["de_itp"] if "de_itp" in values else -values["psnr"]
        mine = self._kept.setdefault(score.model, {})
        if score.scene in mine:
            if badness <= mine[score.scene].badness:
                return
        elif len(mine) >= self._count:
            best = min(mine, key=lambda scene: mine[scene].badness)
            if badness <= mine[best].badness:
                return
            del mine[best]
        kept = [None if x is None else x.half() for x in (result, truth, sdr)]
        assert kept[0] is not None and kept[1] is not None  # noqa: S101
        mine[score.scene] = _Kept(badness, score, kept[0], kept[1], kept[2])

    def pictures(self) -> list[tuple[str, Image.Image]]:
        """Names without suffix and sheets, each model's worst first."""
        out = []
        for model, mine in self._kept.items():
            for number, kept in enumerate(sorted(mine.values(), key=lambda k: -k.badness), 1):
                out.append(
                    (
                        f"{_plain(model)}_{number}",
                        sheet(kept.score, kept.result, kept.truth, kept.sdr),
                    )
                )
        return out


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def error_map(differences: Tensor) -> Tensor:
    """Colours ``3,H,W`` 0..1 of dE_ITP ``H,W``: black is 0, violet, red and orange, pale yellow is 40 and more."""
    place = (differences / TOP).clamp(0, 1) * (len(_COLOURS) - 1)
    low = place.floor().clamp_max(len(_COLOURS) - 2)
    share = (place - low)[..., None]
    i = low.long()
    return (_COLOURS[i] * (1 - share) + _COLOURS[i + 1] * share).permute(2, 0, 1)


def sheet(score: Score, result: Tensor, truth: Tensor, sdr: Tensor | None) -> Image.Image:
    """SDR source, result, truth and error map in a row; HDR as a screen of 300 nits shows it."""
    result, truth = result.float(), truth.float()
    height, width = result.shape[-2:]
    size = (max(1, round(height * min(1.0, _WIDTH / width))), min(width, _WIDTH))
    peak = max(float(pq_eotf(x).max()) for x in (result, truth))
    shown: list[tuple[str, Tensor]] = (
        [] if sdr is None else [("SDR source", fit(sdr.float()[..., :height, :width], size))]
    )
    shown += [
        (score.model, on_screen(fit(result, size), peak)),
        ("truth", on_screen(fit(truth, size), peak)),
        (
            f"dE_ITP, black 0 to pale yellow {TOP:.0f}",
            error_map(fit(delta_e_itp(result, truth)[None], size)[0]),
        ),
    ]
    return _row(shown, size, _words(score))


def _words(score: Score) -> str:
    about = [
        score.scene,
        score.look,
        None if score.qp is None else f"QP {score.qp}",
        f"frame {score.frame}",
    ]
    figures = [
        f"{key} {score.values[key]:.2f}"
        for key in ("psnr", "de_itp", "de_itp_p95")
        if key in score.values
    ]
    return ", ".join([a for a in about if a] + figures)


def _row(shown: Sequence[tuple[str, Tensor]], size: tuple[int, int], words: str) -> Image.Image:
    cell = max(size[1], 240)  # room for the words over small pictures
    out = Image.new("RGB", (_GAP + len(shown) * (cell + _GAP), _HEAD + size[0] + _GAP), _GROUND)
    draw = ImageDraw.Draw(out)
    draw.text((_GAP, 3), words, fill=(255, 255, 255), font=font(14))
    for number, (title, picture) in enumerate(shown):
        x = _GAP + number * (cell + _GAP)
        draw.text((x, 24), title, fill=(190, 190, 190), font=font(12))
        out.paste(image(picture), (x, _HEAD))
    return out
