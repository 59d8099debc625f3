"""Which model for which source: every model on the same val clips, by strength of compression, and what it costs.

    python -m benchmarks.which --corpus CORPUS --out DIR [--models bt2408,look,wmnet,...] [--every 5] [--qps 0,37,42] [--crops 3]

Clips of seven frames, the same master and SDR rendition without compression, at QP 18, and at QP 22, 27, 32, 37, 42 and 47 (every
``--every``-th pair of scene and look). Every model is told the clip's brightness, and reaches each frame as `convert` does, from
the scene's first frame on and with the frames after it. Measured is the middle frame; flicker between all. Detail is that of
the picture over that of `look`'s. Results are kept in DIR, a file for each weight, so that only a new one is measured when the
command runs again. DIR/which.md has the tables; DIR/crops.jpg the ``--crops`` places where compression has left the most blocks,
side by side. Models without a weight are left out.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.command import parser
from benchmarks.cost import in_child, peak_mib
from sdr2hdr.color.grade import BRIGHTNESS, Grade
from sdr2hdr.data.clips import Clip, ClipMaker
from sdr2hdr.errors import ModelError, Sdr2HdrError
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.metrics.blocks import blockiness
from sdr2hdr.metrics.measures import MEASURES, Measure, Meter, choose
from sdr2hdr.metrics.repair import clipped, detail_kept, ringing
from sdr2hdr.metrics.temporal import flicker
from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.render.scene import render_scene
from sdr2hdr.views.falsecolour import font
from sdr2hdr.views.pictures import as_hdr, image, jpeg_bytes, on_screen
from sdr2hdr.weights.load import choose as choose_entry
from sdr2hdr.weights.opened import Loaded, open_model
from sdr2hdr.writing import write_whole

QPS = (0, 18, 22, 27, 32, 37, 42, 47)
"""0 is without compression."""
FRAMES, MIDDLE = 7, 3
KEYS = ("psnr", "ssim", "de_itp", "haarpsi", "blockiness")
BASE = "look"
OTHERS = {
    "flicker": Measure("flicker", "flicker", False, 3),
    "ringing": Measure("ringing", "ringing, codes of 1023", False, 2),
    "detail": Measure("detail", "energy of detail over look's", True, 3),
    "correlation": Measure("correlation", "clipped areas: correlation with the truth", True, 3),
    "std": Measure("std", "clipped areas: deviation, PQ", True, 4),
    "error": Measure("error", "clipped areas: error of the mean, PQ", False, 4),
}
MODELS = "bt2408,bt2446a,look,look-base,wmnet,wmnet-fast,wmnet-deep,fmstfnet,kpnet,kpnet-light,didnet,didnet-tiny"
CROP, ENLARGED = 80, 3


def rendering(name: str) -> tuple[float, float]:
    """Peak MiB and processor seconds a frame of 960x540, on one thread."""
    keep_one_heap()
    torch.set_num_threads(1)
    loaded, size, count = open_model(name), (540, 960), 4
    renderer = Renderer(loaded.model, loaded.spec, size, device="cpu", tile=1 << 20)
    frames = (torch.rand(3, *size) for _ in range(count))
    since = time.process_time()
    for _ in renderer.run(frames, Run(0, count, 0, count), renderer.new_states()):
        pass
    return peak_mib(), (time.process_time() - since) / count


def converted(loaded: Loaded, clip: Clip) -> tuple[Tensor, Tensor | None]:
    """Codes ``T,3,H,W`` of a clip's frames, and the restored SDR if the model gives one."""
    sdr = clip.sdr()
    renderer = Renderer(
        loaded.model,
        loaded.spec,
        (sdr.shape[-2], sdr.shape[-1]),
        device="cpu",
        aux=loaded.spec.has_aux,
        grade=Grade(clip.brightness if loaded.spec.greys else None),
    )
    run = Run(0, len(sdr), 0, len(sdr), clip.known_qp)
    found = torch.stack(list(render_scene(renderer, lambda: iter(sdr), run)))
    return found[:, :3], found[:, 3:] if loaded.spec.has_aux else None


def values(codes: Tensor, base: Tensor, clip: Clip) -> dict[str, float]:
    """The measures of a clip's frames ``T,3,H,W``; those that its pictures do not have are left out."""
    truth, given, here = clip.hdr(), clip.sdr()[MIDDLE], codes[MIDDLE]
    found = Meter(choose(KEYS).measures).add(here, truth[MIDDLE])
    found["flicker"] = fmean(
        flicker(codes[t], codes[t - 1], truth[t], truth[t - 1]) for t in range(1, len(codes))
    )
    found["ringing"] = ringing(here, truth[MIDDLE])
    found["detail"] = detail_kept(here, base[MIDDLE])
    if (inside := clipped(here, truth[MIDDLE], given)) is not None:
        found |= inside._asdict()
    return {k: v for k, v in found.items() if not math.isnan(v)}


def measured(names: list[str], a: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """By model a row for each clip: look, QP, scene and the values; where an earlier run left them of this very weight, those."""
    rows: dict[str, list[dict[str, Any]]] = {}
    missing = []
    for name in names:
        kept = a.out / f"{Path(name).stem}.json"
        found = json.loads(kept.read_text()) if kept.exists() else {}
        if {k: v for k, v in found.items() if k != "rows"} == identity(name, a):
            rows[name] = found["rows"]
        else:
            missing.append(name)
    models = {name: open_model(name) for name in missing}
    fresh: dict[str, list[dict[str, Any]]] = {name: [] for name in missing}
    look = open_model(BASE)
    for clip in clips(a) if missing else ():
        given, clean = clip.sdr()[MIDDLE], clip.undamaged()[MIDDLE]
        base, _ = converted(look, clip)
        for name, loaded in models.items():
            codes, restored = converted(loaded, clip)
            row = values(codes, base, clip)
            if restored is not None and clip.qp:
                row |= {"aux": psnr(restored[MIDDLE], clean), "given": psnr(given, clean)}
            fresh[name].append({"scene": clip.scene, "look": clip.look, "qp": clip.qp, **row})
    for name, new in fresh.items():
        kept = a.out / f"{Path(name).stem}.json"
        write_whole(kept, json.dumps({**identity(name, a), "rows": new}).encode(), overwrite=True)
    return {name: (rows | fresh)[name] for name in names}


def identity(name: str, a: argparse.Namespace) -> dict[str, Any]:
    """What rows are of: the weight and the clips."""
    entry = choose_entry(name)
    return {"sha256": entry.sha256 if entry else "", "every": a.every, "qps": a.qps}


def clips(a: argparse.Namespace) -> Any:
    """Every n-th pair of scene and look of the val set, at the strengths asked for."""
    maker = ClipMaker(a.corpus, "val", frames=FRAMES)
    pairs = list(
        dict.fromkeys((still, look, number) for still, look, _, number in maker.val_clips())
    )
    for still, look, number in pairs[:: a.every]:
        for qp in a.qps:
            yield maker.val_clip(still, look, qp, number)


def quality(rows: dict[str, list[dict[str, Any]]], qps: list[int]) -> str:
    """A table for each measure: a row a model, a column a QP."""
    named = [f"QP {q}" if q else "clean" for q in qps]
    compressed = [q for q in qps if q]
    parts = []
    for key, m in {**{k: MEASURES[k] for k in KEYS}, **OTHERS}.items():
        if not any(key in r for found in rows.values() for r in found):
            continue
        lines = [f"| {m.title} {'↑' if m.higher else '↓'} | {' | '.join(named)} | all |"]
        lines.append("|---" * (len(qps) + 2) + "|")
        for name, found in rows.items():
            means = [_mean([r[key] for r in found if r["qp"] == q and key in r]) for q in qps]
            cells = (f"{v:.{m.digits}f}" for v in [*means, _mean(means)])
            lines.append(f"| {name} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    lines = []
    for name, found in rows.items():
        if any("aux" in r for r in found):
            gains = [
                fmean(r["aux"] - r["given"] for r in found if r["qp"] == q) for q in compressed
            ]
            lines.append(f"| {name} | {' | '.join(f'{v:+.2f}' for v in [*gains, fmean(gains)])} |")
    if lines:
        head = f"| restored SDR over its source, dB | {' | '.join(f'QP {q}' for q in compressed)} | all |"
        parts.append("\n".join([head, "|---" * (len(compressed) + 2) + "|", *lines]))
    return "\n\n".join(parts)


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan


def cost(name: str) -> str:
    """A row of what a model costs: parameters, operations, memory and speed."""
    loaded = open_model(name)
    model, spec, entry = loaded.model, loaded.spec, loaded.entry
    parameters = sum(p.numel() for p in model.parameters())
    side, count = 256, spec.past + spec.block + spec.future
    frames = torch.rand(1, count, 3, side, side)
    thumbs = thumbnail(frames, spec.thumb) if spec.thumb else None
    with FlopCounterMode(
        display=False
    ) as counter:  # with gradients: without them convolutions are fused, and not seen
        told = torch.full((1,), BRIGHTNESS) if spec.brightness else None
        state = model.new_state((side, side))
        model(frames, state, past=spec.past, future=spec.future, thumbs=thumbs, brightness=told)
    work = counter.get_total_flops() / (spec.block * side * side) * 1e-3
    mib, seconds = in_child(rendering, name)
    size = "-" if entry is None else f"{entry.size / 2**20:.2f}"
    return (
        f"| {name} | {parameters / 1e6:.2f} | {size} | {work:.0f} | {mib:.0f} | {1 / seconds:.2f} |"
    )


def crops(names: list[str], a: argparse.Namespace) -> Image.Image:
    """The most blocked places at QP 37 and 42, one a scene: source, each model, truth, as an SDR screen shows them."""
    models = {n: open_model(n) for n in names}
    found: dict[int, dict[str, tuple[float, Clip]]] = {37: {}, 42: {}}
    for clip in clips(a):
        if clip.qp in found:
            here = max(blockiness(clip.sdr()[MIDDLE][(..., *area)]) for area in areas(clip))
            if here > found[clip.qp].get(clip.scene, (0.0, clip))[0]:
                found[clip.qp][clip.scene] = (here, clip)
    chosen = [
        c for by in found.values() for _, c in sorted(by.values(), key=lambda v: -v[0])[: a.crops]
    ]
    titles = ["source", *names, "truth"]
    side = CROP * ENLARGED
    out = Image.new("RGB", (len(titles) * (side + 4), 20 + len(chosen) * (side + 4)), (24, 24, 24))
    draw = ImageDraw.Draw(out)
    for x, title in enumerate(titles):
        draw.text((x * (side + 4) + 2, 2), title, fill=(255, 255, 255), font=font(13))
    for y, clip in enumerate(chosen):
        given = clip.sdr()[MIDDLE]
        area = max(areas(clip), key=lambda at: blockiness(given[(..., *at)]))
        made = [converted(models[n], clip)[0][MIDDLE] for n in names]
        for x, codes in enumerate([as_hdr(given), *made, clip.hdr()[MIDDLE]]):
            shown = image(on_screen(codes[(..., *area)], 1000.0)).resize(
                (side, side), Image.Resampling.NEAREST
            )
            out.paste(shown, (x * (side + 4), 20 + y * (side + 4)))
        draw.text(
            (4, 22 + y * (side + 4)),
            f"QP {clip.qp}, {clip.look}",
            fill=(255, 255, 0),
            font=font(12),
        )
    return out


def areas(clip: Clip) -> list[tuple[slice, slice]]:
    """Places of a clip that are bright enough to see something there."""
    height, width = clip.codes.shape[-2:]
    every = [
        (slice(y, y + CROP), slice(x, x + CROP))
        for y in range(0, height - CROP + 1, CROP // 2)
        for x in range(0, width - CROP + 1, CROP // 2)
    ]
    light = clip.sdr()[MIDDLE]
    return [at for at in every if 0.25 < light[(..., *at)].mean() < 0.75] or every[:1]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--corpus", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--models", default=MODELS)
    options.add_argument("--every", type=int, default=5)
    options.add_argument(
        "--qps",
        type=lambda text: [int(q) for q in text.split(",")],
        default=list(QPS),
        metavar="A,B,C",
        help="strengths of compression; 0 is none",
    )
    options.add_argument("--crops", type=int, default=3)
    options.add_argument("--no-cost", action="store_true", help="leave out what models cost")
    a = options.parse_args()
    keep_one_heap()
    a.out.mkdir(parents=True, exist_ok=True)
    names = []
    try:
        for name in a.models.split(","):
            try:
                choose_entry(name)
                names.append(name)
            except ModelError as e:
                print(f"{name} is left out: {e}", file=sys.stderr)
        rows = measured(names, a)
        for name in names:
            print(
                name,
                f"{fmean(r['psnr'] for r in rows[name]):.2f} dB over {len(rows[name])} clips",
                flush=True,
            )
        parts = [quality(rows, a.qps)]
        if not a.no_cost:
            head = "| model | M parameters | MiB | GFLOP a megapixel | peak MiB, 960x540 | frames/s, 960x540 |"
            parts.append("\n".join([head, "|---" * 6 + "|", *(cost(n) for n in names)]))
        write_whole(a.out / "which.md", ("\n\n".join(parts) + "\n").encode(), overwrite=True)
        if a.crops:
            shown = [n for n in names if n not in ("bt2408", "bt2446a", "didnet-tiny")]
            write_whole(a.out / "crops.jpg", jpeg_bytes(crops(shown, a), 85), overwrite=True)
    except Sdr2HdrError as e:
        sys.exit(f"Error: {e}")


if __name__ == "__main__":
    main()
