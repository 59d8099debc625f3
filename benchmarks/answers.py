"""What a model answers to flat greys inside pictures of different looks, and how steady it is: the network must tell looks apart.

    python -m benchmarks.answers --corpus CORPUS [--models bt2408,look,wmnet] [--plot ANSWERS.png]

A strip of flat grey patches (SDR codes 0.125 to 1) is put into val scenes rendered as graded television, into the same scenes
as a phone camera renders them, and into real phone photos. Printed are the mean answers (nits, geometric mean over pictures)
beside what networks trained on graded television answer and what the truth shows there (nits of the places that are nearly as
grey and of the same code, geometric mean over the pictures' medians), the chroma of the patches, and whether the answers rise.
Then the flicker (docs/measuring.md) of a scene filmed from a tripod (grain, x264), as a ratio to the first model's; and the
largest jump between neighbouring frames, inside windows and at their borders.
"""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from benchmarks.command import parser
from sdr2hdr.color.grade import BRIGHTNESS
from sdr2hdr.color.ictcp import delta_e_itp
from sdr2hdr.color.primaries import luminance
from sdr2hdr.color.transfer import WHITE, pq_eotf, pq_inverse_eotf
from sdr2hdr.data.clips import Clip, ClipMaker, to_planes
from sdr2hdr.data.grading import grade, render_sdr
from sdr2hdr.data.stills import load_linear, load_sdr
from sdr2hdr.evaluation.val import converter
from sdr2hdr.metrics.filters import luma
from sdr2hdr.metrics.temporal import flicker
from sdr2hdr.weights.opened import open_model

CODES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.8125, 0.875, 0.9375, 1.0)
GRADED = (1.1, 8.25, 26.0, 60.0, 116.0, 190.5, 240.5, 300.5, 383.0, 1127.0)
DIRECT = (1.4, 7.3, 19.0, 39.0, 66.0, 102.0, 123.0, 147.0, 174.0, 203.0)


def with_patches(picture: Tensor) -> tuple[Tensor, list[tuple[slice, slice]]]:
    """The picture ``3,H,W`` with a strip of grey patches along its lower edge, and the inner area of each."""
    picture = picture.clone()
    _, h, w = picture.shape
    top, each = h - h // 8, w // len(CODES)
    areas = []
    for i, code in enumerate(CODES):
        picture[:, top:, i * each : (i + 1) * each] = code
        areas.append((slice(top + 4, h - 2), slice(i * each + 6, (i + 1) * each - 6)))
    return picture, areas


def pictures(corpus: Path) -> Iterable[tuple[str, Tensor, Tensor]]:
    """SDR pictures ``3,H,W`` of val scenes as graded television and as a camera's, and the val phone photos; each with the
    luminance ``H,W`` of its truth in nits."""
    maker = ClipMaker(corpus, "val", size=(288, 512), frames=1, seed=3)
    for number, (still, look) in enumerate(
        (s, k) for s in maker.stills if s.sdr is None for k in ("graded", "camera")
    ):
        for view in range(3):
            clip = maker.scene_clip(still, look, 22, np.random.default_rng([number // 2, view]))
            yield look, clip.sdr()[0], luminance(pq_eotf(clip.hdr()[0]))
    for still in maker.stills:
        if still.sdr is not None:
            photo, light = load_sdr(still), luminance(load_linear(still) * WHITE)[None]
            step = max(1, photo.shape[1] // 600)
            photo, light = (
                torch.nn.functional.avg_pool2d(x[None], step)[0] for x in (photo, light)
            )
            yield "phone", photo, light[0]


def shown(picture: Tensor, nits: Tensor) -> Tensor:
    """The truth's median nits at each of the codes, over greyish places; NaN where there are fewer than 50."""
    level = luma(picture)
    grey = picture.amax(0) - picture.amin(0) < 0.1
    found = [nits[grey & ((level - code).abs() < 0.02)] for code in CODES]
    return torch.stack([x.median() if len(x) >= 50 else x.new_tensor(float("nan")) for x in found])


def tripod(corpus: Path, count: int) -> tuple[Tensor, Tensor]:
    """A val scene that stands still, with grain, through x264: SDR ``T,3,H,W`` and the truth's codes."""
    from sdr2hdr.data import camera
    from sdr2hdr.media.transcode import through_codec

    maker = ClipMaker(corpus, "val", size=(192, 320), frames=1, seed=3)
    rng = np.random.default_rng(1)
    still = next(s for s in maker.stills if s.sdr is None and s.panorama)
    light = camera.panorama_views(maker.light(still), (192, 320), 1, rng)
    light = light.expand(count, -1, -1, -1)
    master = grade(light, "graded", rng, night=False, white_is_one=False)
    sdr = render_sdr(master, "graded", rng)
    noisy = sdr + 0.01 * torch.from_numpy(rng.standard_normal(sdr[:, :1].shape, dtype=np.float32))
    clean = to_planes(noisy.clamp(0, 1), rng)
    planes = through_codec(clean, "libx264", 27)
    return Clip(
        planes, clean, torch.zeros(1), still.name, "graded", 27, 0.0
    ).sdr(), pq_inverse_eotf(master.nits)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--corpus", type=Path, required=True)
    options.add_argument("--models", default="bt2408,bt2446a,look,wmnet")
    options.add_argument("--precision", default="auto")
    options.add_argument("--brightness", type=float, default=BRIGHTNESS)
    args = options.parse_args()
    opened = {name: open_model(name) for name in args.models.split(",")}
    models = {
        name: converter(each, device="cpu", precision=args.precision)
        for name, each in opened.items()
    }
    answers: dict[tuple[str, str], list[Tensor]] = {}
    chroma: dict[str, float] = {}
    falls: dict[str, int] = {}
    blacks: dict[str, float] = {}
    truths: dict[str, list[Tensor]] = {}
    for look, picture, light in pictures(args.corpus):
        truths.setdefault(look, []).append(shown(picture, light))
        h, w = (n // 8 * 8 for n in picture.shape[-2:])
        sdr, areas = with_patches(picture[:, :h, :w])
        for name, convert in models.items():
            codes = convert(sdr[None], args.brightness, None)[-1]
            patches = [codes[(slice(None), *a)].mean((1, 2)) for a in areas]
            greys = torch.stack(patches)
            nits = pq_eotf(greys)
            answers.setdefault((look, name), []).append(nits[:, 1])
            neutral = pq_inverse_eotf(luminance(nits[..., None, None])[..., 0]).expand(-1, 3)
            off = delta_e_itp(greys.T[..., None], neutral.T[..., None])
            chroma[name] = max(chroma.get(name, 0.0), float(off.max()))
            falls[name] = falls.get(name, 0) + int((nits[:, 1].diff() <= 0).any())
            black = sdr.clone()
            black[:, -h // 8 :, :] = 0.0
            dark = convert(black[None], args.brightness, None)[-1][:, -h // 8 + 8 : -4, 8:-8]
            blacks[name] = max(blacks.get(name, 0.0), float(pq_eotf(dark).mean()))
    print("code            " + " ".join(f"{c:7.4f}" for c in CODES))
    print("graded TV       " + " ".join(f"{n:7.1f}" for n in GRADED))
    print("direct          " + " ".join(f"{n:7.1f}" for n in DIRECT))
    for look, seen in truths.items():
        mean = torch.stack(seen).log().nanmean(0).exp()
        print(f"{look:7} truth   " + " ".join(f"{n:7.1f}" for n in mean))
    for (look, name), found in answers.items():
        mean = torch.stack(found).clamp_min(1e-3).log().mean(0).exp()
        print(f"{look:7} {name:8}" + " ".join(f"{n:7.1f}" for n in mean))
    for name in models:
        print(
            f"{name}: largest chroma of a grey {chroma[name]:.2f} dE_ITP; ramps that fall {falls[name]}; ",
            end="",
        )
        print(f"brightest black {blacks[name]:.4f} nits")
    sdr, truth = tripod(args.corpus, 32)
    base = None
    for name, convert in models.items():
        codes = convert(sdr, args.brightness, None)
        shaking = fmean(
            flicker(codes[i], codes[i - 1], truth[i], truth[i - 1]) for i in range(1, len(codes))
        )
        base = base if base is not None else shaking
        level = luma(codes).mean((1, 2)).diff().abs() * 1023
        block = opened[name].spec.block
        border = level[block - 1 :: block].max() if len(level) >= block else level.max()
        print(
            f"{name}: flicker {shaking:.4f}, {shaking / base:.2f} of {next(iter(models))}'s; "
            f"mean level jumps {float(level.max()):.3f} codes at most, {float(border):.3f} at window borders"
        )


if __name__ == "__main__":
    main()
