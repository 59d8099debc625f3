"""Variants of a recipe as a Markdown table, trained for the same steps from the same start and seed on the same clips.

    python -m sdr2hdr.training.ablation wmnet --clips RUN/clips --out DIR [--steps 300] [--rows N]
    python -m sdr2hdr.training.ablation wmnet-paper --clips RUN/clips --out DIR --test HDRTV4KScene/

``--clips`` is the folder that `sdr2hdr train` made. Scores are those of the averaged weights on an inner frame of every
select clip, or, with ``--corpus``, of every ``--every``-th val clip; the network reaches it with its memory. Papers' recipes
have no select clips: with ``--test`` scores are those on the test part of a data set, as papers measure, with the ``--qp``,
``--intra`` and ``--middle`` of ``sdr2hdr evaluate``. The table DIR/ablation.md is rewritten after every variant. If it is
stopped, the same command continues from the last checkpoint.
``--rows`` takes only the first variants.

Networks on the look mapping, most of whose error is a look that nobody can know, also show how much damage they repair on
the select clips of QP 32 and more: by how much nearer, in dB, their codes are than the base's to what the look makes of the
undamaged SDR. *SDR repaired* is the same of a restored SDR picture, against the undamaged one.

The first argument is a TOML file, or the name of one in ``training/ablations``. It names a ``recipe`` (one of sdr2hdr's, or
a file beside it) and has a ``[[variants]]`` table for each row: its ``name`` and what differs. ``config`` adds to the
recipe's; ``tasks`` keeps the stages of these tasks; ``masking``, ``hides``, ``wavelet`` and ``levels`` are those of the masked
stages; ``untrained`` trains nothing; any other key is the recipe's. All variants have ``--steps`` steps in all, which their
stages share as in the recipe: what phase I takes is not there for the mapping.

Rows may share what they have in common: a variant with ``before`` takes over what the variant of that name trained, one
with ``scored = false`` is only for that, and ``steps`` of its own overrule ``--steps``. At the file's top ``start`` names
another weight than the recipe's, and tensors that begin with one of ``anew`` are not taken from it.

``paper`` are the paper's scores of a row, by the measure. They stand beside ours, but they can only be compared on the
paper's data and after the paper's steps.

A model that is told exposures is measured on the select clips through simulated cameras (``data/exposures.py``), the middle
frame of each clip twice, once with an independently moving object.
"""

import argparse
import json
import re
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdr2hdr.color.grade import Grade
from sdr2hdr.data.clips import Clip
from sdr2hdr.data.exposures import CYCLES, Cycles, shoot
from sdr2hdr.data.objects import with_object
from sdr2hdr.data.store import read_clip
from sdr2hdr.errors import InputError, Sdr2HdrError
from sdr2hdr.evaluation.protocols import protocol
from sdr2hdr.evaluation.scores import summary
from sdr2hdr.evaluation.strips import Pairing, pairings
from sdr2hdr.evaluation.val import converter, simulated
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.metrics.measures import Measure, Meter, choose
from sdr2hdr.models import registry
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.models.model import Model, RepairingModel, RestoringModel
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.render.looks import scene_look
from sdr2hdr.training.export import export
from sdr2hdr.training.loop import Trainer, is_frozen, judged
from sdr2hdr.training.papers import means
from sdr2hdr.training.recipe import MASKING, Recipe, read_recipe, recipe_path
from sdr2hdr.training.tasks import TASKS
from sdr2hdr.weights.starting import starting_tensors
from sdr2hdr.writing import write_whole

ABLATIONS = Path(__file__).parent / "ablations"
MEASURES: tuple[Measure, ...] = tuple(
    choose(["psnr", "ssim", "de_itp", "flicker", "e_warp"]).measures
)
REPAIRS = (
    Measure("repaired", "damage repaired dB", True),
    Measure("restored", "SDR repaired dB", True),
)
STRONG = 32
"""The smallest QP at which repairs are measured."""
EXPOSED: tuple[Measure, ...] = tuple(choose(["psnr_t", "ssim_t", "haarpsi"]).measures)


@dataclass(frozen=True)
class Variant:
    """A row: its recipe, cut to the steps of the ablation; ``folder`` is its name as a folder's. It begins with the recipe's
    start but for what begins ``anew``, and with what ``before`` trained. ``paper`` are the scores of the row in the paper, by the
    measure."""

    name: str
    recipe: Recipe
    trained: bool
    before: str = ""
    scored: bool = True
    anew: tuple[str, ...] = ()
    paper: Mapping[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return folder(self.name)


def table_path(name: Path) -> Path:
    """The file for a name: a bundled table of variants, or the path itself."""
    bundled = ABLATIONS / f"{name}.toml"
    return bundled if not name.suffix and len(name.parts) == 1 and bundled.exists() else name


def folder(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def read_variants(path: Path, steps: int) -> list[Variant]:
    """The variants of a file. Raises InputError with the file and the error in it."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        wanted, tables = Path(data["recipe"]), list(data["variants"])
        beside = path.parent / wanted
        base = read_recipe(beside if beside.is_file() else recipe_path(wanted))
        base = replace(base, start=data.get("start", base.start))
        found = [
            replace(_variant(base, dict(t), steps), anew=tuple(data.get("anew", ())))
            for t in tables
        ]
        for number, v in enumerate(found):
            if v.before and v.before not in [other.name for other in found[:number]]:
                raise ValueError(
                    f"variant {v.name!r} comes after {v.before!r}, which is no variant before it"
                )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise InputError(f"{path} cannot be read: {e}.") from e
    except (KeyError, TypeError, ValueError) as e:
        raise InputError(
            f"{path} is no list of variants of a recipe: {e}; see sdr2hdr/training/ablations."
        ) from e
    if len({v.folder for v in found}) < len(found):
        raise InputError(f"{path} has two variants of one name; give each its own.")
    return found


def _variant(base: Recipe, table: dict[str, Any], steps: int) -> Variant:
    name, trained = str(table.pop("name")), not table.pop("untrained", False)
    before, scored, steps = (
        str(table.pop("before", "")),
        bool(table.pop("scored", True)),
        int(table.pop("steps", steps)),
    )
    paper = {str(key): float(value) for key, value in dict(table.pop("paper", {})).items()}
    if unknown := paper.keys() - {m.key for m in (*MEASURES, *EXPOSED)}:
        raise ValueError(f"variant {name!r} has the paper's {min(unknown)}, which is not measured")
    given = {"form": base.config} if isinstance(base.config, str) else base.config
    config, tasks = {**given, **table.pop("config", {})}, table.pop("tasks", None)
    masking = {key: table.pop(key) for key in MASKING if key in table}
    stages = [s for s in base.stages if tasks is None or s.task in tasks]
    if "stages" in table:
        raise ValueError(
            f"variant {name!r} names stages, which are the recipe's; choose among them with tasks"
        )
    if not stages:
        raise ValueError(f"variant {name!r} leaves no stage")
    stages = [replace(s, **masking) if s.task == "masked" else s for s in stages]
    share = steps / sum(s.steps for s in stages)
    counts = [max(1, round(s.steps * share)) for s in stages]
    counts[counts.index(max(counts))] += steps - sum(counts)  # exactly the same number for all
    if min(counts) < 1:
        raise ValueError(
            f"{steps} steps are too few for the {len(stages)} stages of variant {name!r}"
        )
    cut = tuple(replace(s, steps=n) for s, n in zip(stages, counts, strict=True))
    recipe = replace(base.cut(cut), **{**table, "config": config, "select_every": 10**9})
    return Variant(name, recipe, trained, before, scored, paper=paper)


def scores(trainer: Trainer, corpus: Path | None, every: int) -> Mapping[str, float]:
    """Means of the averaged weights over the select clips, or over the val clips of a corpus."""
    loaded = trainer.averaged_model()
    net, convert = loaded.model, converter(loaded, device="cpu")
    if corpus is not None:
        return summary(list(simulated({"it": convert}, corpus, MEASURES, every=every))).mean
    total: dict[str, list[float]] = {}
    for number, path in enumerate(trainer.chosen_on):
        clip = read_clip(path)
        if trainer.spec.exposures:
            for key, value in exposed(
                net, clip.hdr()[None], number, trainer.recipe.cycles or CYCLES
            ):
                total.setdefault(key, []).append(value)
            continue
        result, truth = convert(clip.sdr(), clip.brightness, clip.known_qp), clip.hdr()
        meter = Meter(MEASURES)
        at = judged(len(truth), trainer.spec)
        if at:
            meter.skip(result[at - 1], truth[at - 1])
        found = meter.add(result[at], truth[at]) | meter.finish()
        if clip.qp >= STRONG:
            found |= repairs(net, trainer.spec, clip, at, result[at])
        for key, value in found.items():
            total.setdefault(key, []).append(value)
    return {key: sum(values) / len(values) for key, values in total.items()}


@torch.inference_mode()
def repairs(net: Model, spec: ModelSpec, clip: Clip, at: int, result: Tensor) -> dict[str, float]:
    """The :data:`REPAIRS` of a network's ``result 3,H,W`` for frame ``at`` of a clip."""
    sdr, clean = clip.sdr()[None], clip.undamaged()[None]
    found = {}
    if isinstance(net, OnBase) and spec.look:
        read = scene_look(net, spec, clip.sdr(), grade=Grade(clip.brightness))
        look = None if read is None else read[None]
        wanted, base = (net.base_codes(x[:, at], look)[0].clamp(0, 1) for x in (clean, sdr))
        found["repaired"] = psnr(result, wanted) - psnr(base, wanted)
    if isinstance(net, RepairingModel):
        restored = net.restored_frames(
            sdr, range(at, at + 1), torch.tensor([clip.known_qp or torch.nan])
        )[0, 0]
    elif isinstance(net, RestoringModel) and spec.look:
        told = torch.tensor([clip.brightness])
        thumbs = thumbnail(sdr, spec.thumb)
        _, all_restored, _ = net.forward_with_aux(sdr, {}, thumbs=thumbs, brightness=told)
        restored = all_restored[0, at]
    else:
        return found
    before = psnr(sdr[0, at], clean[0, at])
    return found | {"restored": psnr(restored.float().clamp(0, 1), clean[0, at]) - before}


@torch.inference_mode()
def exposed(net: Model, codes: Tensor, number: int, cycles: Cycles) -> Iterator[tuple[str, float]]:
    """Scores of the middle frame of a master's codes ``1,T,3,H,W`` in alternating exposures, without and with an object."""
    cycle, middle = cycles[number % len(cycles)], codes.shape[1] // 2
    piece = codes[:, 0].flip(-1)
    for seen in (codes, with_object(codes, piece, torch.Generator().manual_seed(number))[0]):
        shot = shoot(
            seen, cycle, number // len(cycles) % len(cycle), torch.Generator().manual_seed(number)
        )
        thumbs = seen.new_zeros(*seen.shape[:3], 64, 64)
        result, _ = net(
            shot.frames,
            {},
            past=middle,
            future=codes.shape[1] - 1 - middle,
            thumbs=thumbs,
            exposures=shot.exposures,
        )
        yield from Meter(EXPOSED).add(result[0, 0].float(), shot.truth[0, middle]).items()


def tested(trainer: Trainer, a: argparse.Namespace) -> Mapping[str, float]:
    """Means of the averaged weights over the test part of a data set."""
    trainer.save()
    recipe, out = trainer.recipe, trainer.out
    export(trainer.checkpoint, recipe, out, data=a.test.name, commit="unknown", scores={})
    measures = EXPOSED if trainer.spec.exposures else MEASURES
    return means(pairs_to_test(a), out / f"{recipe.name}.safetensors", measures, device="cpu").mean


def pairs_to_test(a: argparse.Namespace) -> list[Pairing]:
    """The frames of ``--test``, compressed and cut as the other options say."""
    pairs = pairings(a.test, None, None, "test")
    return protocol(pairs, a.qp, intra=a.intra, middle=a.middle)


def measured_on(a: argparse.Namespace) -> str:
    """What the rows are measured on, as text."""
    if a.test:
        coded = f", QP {', '.join(map(str, a.qp))}" + ", intra" * a.intra if a.qp else ""
        return f"{a.test}{coded}" + (f", the middle of {a.middle} frames" if a.middle else "")
    return str(a.corpus or a.clips)


def measured(variant: Variant, a: argparse.Namespace) -> dict[str, Any]:
    """The row of a variant, which is trained and measured unless an earlier run did it."""
    out: Path = a.out / variant.folder
    kept = out / "scores.json"
    what = {"recipe": repr(variant.recipe), "on": measured_on(a), "every": a.every}
    what |= {"before": variant.before} if variant.before else {}
    if kept.exists():
        row: dict[str, Any] = json.loads(kept.read_text("utf-8"))
        if {k: row.get(k) for k in what} == what:
            return row
    recipe = variant.recipe
    alone = registry.stands_alone(recipe.model, recipe.config)
    start = [
        {k: t for k, t in tensors.items() if not k.startswith(variant.anew)}
        for tensors in starting_tensors(*recipe.starts, alone=alone)
    ]
    shared = (
        torch.load(a.out / folder(variant.before) / "trained.pt", weights_only=True)
        if variant.before
        else {}
    )
    trainer = Trainer(variant.recipe, a.clips, out, start=[*start, *([shared] if shared else [])])
    before = {key: t.cpu().clone() for key, t in trainer.averaged().items()}
    seconds = None
    if variant.trained:
        trainer.resume()
        begun, first = time.monotonic(), trainer.step
        trainer.run(lambda _: None, every=10**9, save_every=50)
        seconds = (
            (time.monotonic() - begun) / (trainer.step - first) if trainer.step > first else None
        )
    moved = {key: t for key, t in trainer.averaged().items() if not torch.equal(t, before[key])}
    torch.save(shared | moved, out / "trained.pt")
    tasks = {TASKS[s.task] for s in variant.recipe.stages}
    millions = sum(
        p.numel() / 1e6
        for name, p in trainer.net.named_parameters()
        if not is_frozen(variant.recipe, name) and any(t.trains(name) for t in tasks)
    )
    row = {
        **what,
        "millions": millions,
        "seconds": seconds,
        "scores": {},
    }
    if variant.scored:
        row["scores"] = tested(trainer, a) if a.test else scores(trainer, a.corpus, a.every)
    write_whole(kept, json.dumps(row, indent=1).encode(), overwrite=True)
    return row


def table(rows: dict[str, dict[str, Any]], variants: list[Variant], a: argparse.Namespace) -> str:
    """The rows as Markdown, with the budget above them."""
    r = variants[0].recipe
    shown = [
        m
        for m in (*MEASURES, *REPAIRS, *EXPOSED)
        if any(m.key in row["scores"] for row in rows.values())
    ]
    where = (
        f"every {a.every}. val clip of the corpus"
        if a.corpus
        else f"an inner frame of each of {r.clips.select} select clips"
    )
    if a.test:
        where = f"the test frames of {measured_on(a)}"
    elif not a.corpus and registry.spec(r.model).exposures:
        where = f"the middle frames of {r.clips.select} select clips in alternating exposures, without and with an object"
    head = [
        "variant",
        "M weights trained",
        "s a step",
        *(f"{m.title} {'↑' if m.higher else '↓'}" for m in shown),
    ]
    told = [m for m in shown if any(m.key in v.paper for v in variants)]
    head += [f"the paper's {m.title}" for m in told]
    shared = "".join(
        f" Before them {v.name}: {v.recipe.steps} steps of {', '.join(s.task for s in v.recipe.stages)}."
        for v in variants
        if not v.scored
    )
    lines = [
        f"Recipe `{r.name}`, {a.steps} steps each, phase I's among them, seed {r.seed}, start `{' + '.join(r.starts)}`, the "
        f"same {r.clips.count} clips; averaged weights on {where}.{shared}",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    for variant in variants:
        if variant.name in rows and variant.scored:
            row = rows[variant.name]
            cells = [f"{row['millions']:.2f}" if variant.trained else "0"]
            cells.append("-" if row["seconds"] is None else f"{row['seconds']:.2f}")
            found = row["scores"]
            cells += [
                f"{found[m.key]:.{3 if m in REPAIRS else m.digits + 1}f}" if m.key in found else "-"
                for m in shown
            ]
            cells += [f"{variant.paper[m.key]:g}" if m.key in variant.paper else "-" for m in told]
            lines.append(f"| {' | '.join([variant.name, *cells])} |")
    return "\n".join(lines) + "\n"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "variants", type=Path, help="a table, or the name of one that comes with sdr2hdr"
    )
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--qp", type=_numbers, default=(), metavar="A,B,C")
    parser.add_argument("--intra", action="store_true")
    parser.add_argument("--middle", type=int)
    a = parser.parse_args()
    keep_one_heap()
    try:
        if a.test:
            pairs_to_test(a)  # what is damaged is found before the training
        variants = read_variants(table_path(a.variants), a.steps)[: a.rows]
        rows = {}
        for variant in variants:
            rows[variant.name] = measured(variant, a)
            text = table(rows, variants, a)
            write_whole(a.out / "ablation.md", text.encode(), overwrite=True)
            print(text.splitlines()[-1] if variant.scored else f"({variant.name})", flush=True)
    except Sdr2HdrError as e:
        sys.exit(f"Error: {e}")


if __name__ == "__main__":
    main()
