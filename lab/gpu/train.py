"""Train a recipe on a machine with a GPU for a number of minutes, from pieces that `lab.gpu.pack` made.

    python -m lab.gpu.train RECIPE OUT --pieces FOLDER [--minutes 18] [--device cuda] [--batch 1] [--start WEIGHT.safetensors]

Run from a copy of the tree. Besides torch and numpy it needs av, msgspec, platformdirs, filelock and safetensors. RECIPE is the
name of one that comes with sdr2hdr, or a file. Its stages keep their proportions. Their steps are made to fit into the minutes
by the speed of the first few; ``--batch`` makes all batches that many times as large. What was unpacked stays for the next call.

OUT then holds ``NAME.safetensors``, ``scores.json``, ``loss.csv`` (``loss.png`` with matplotlib) and the checkpoint, in parts of
at most 14 MiB. With them in OUT, and the same pieces, the same command goes on. Its minutes are counted anew.
"""

import argparse
import json
import os
import tarfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

import torch

from lab.gpu.pack import large
from lab.gpu.resident import ResidentSampler
from sdr2hdr.data.store import clip_paths, write_clip
from sdr2hdr.models import registry
from sdr2hdr.training.curves import draw
from sdr2hdr.training.loop import Report, Trainer, mean_psnr
from sdr2hdr.training.recipe import Recipe, read_recipe, recipe_path
from sdr2hdr.weights.opened import open_model
from sdr2hdr.weights.save import save_weights
from sdr2hdr.weights.starting import starting_tensors
from sdr2hdr.writing import write_whole

PART = 14 << 20
TRIED = 6
"""Steps of each stage by which its speed is known; the first half of them does not count."""
RESERVE = 0.12
"""The share of the time that is kept for measuring and saving."""


class TimeIsUp(Exception):
    """Training stopped between two reports; its checkpoint is written."""


def unpack(pieces: Sequence[Path], clips: Path, processes: int) -> int:
    """Make clips of all pieces; how many there are now."""
    work = [(str(piece), str(clips)) for piece in pieces]
    if processes > 1 and len(work) > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(_unpack_one, work))
    else:
        for each in work:
            _unpack_one(each)
    return len(clip_paths(clips / "train"))


def _unpack_one(work: tuple[str, str]) -> None:
    piece, clips = work
    torch.set_num_threads(1)
    with tarfile.open(piece) as tar:
        for about in tar:
            split, name = PurePosixPath(about.name).parts
            data = tar.extractfile(about)
            path = Path(clips) / split / name
            if data is None or split not in ("train", "select") or path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            write_clip(large(data.read()), path)


def resident(trainer: Trainer, clips: Path) -> None:
    """Let a trainer draw its batches on its device."""
    count = trainer.recipe.clips.count
    seed, grid = trainer.recipe.seed, trainer.sampler.grid
    trainer.sampler = ResidentSampler(clips / "train", seed, count, trainer.device, grid=grid)


def fitted(recipe: Recipe, clips: Path, folder: Path, seconds: float, device: str) -> Recipe:
    """The recipe with as many steps as fit into so many seconds, by the speed of a few of each stage."""
    cost = 0.0
    for stage in recipe.stages:
        short = replace(recipe, stages=(replace(stage, steps=2 * TRIED),), warmup=1)
        trainer = Trainer(short, clips, folder, device=device)
        resident(trainer, clips)
        for _ in range(TRIED // 2):
            trainer.train_step()
        since = time.perf_counter()
        for _ in range(TRIED - TRIED // 2):
            trainer.train_step()  # which reads its loss, and so waits for the device
        each = (time.perf_counter() - since) / (TRIED - TRIED // 2)
        cost += each * stage.steps
        print(f"{stage.task}: {each * 1e3:.1f} ms a step of {stage.batch}x{stage.frames} patches")
    share = seconds * (1 - RESERVE) / cost
    stages = tuple(replace(s, steps=max(1, int(s.steps * share))) for s in recipe.stages)
    every = max(1, sum(s.steps for s in stages) // 20)
    return replace(recipe.cut(stages), select_every=every)


def load_plan(path: Path, recipe: Recipe) -> Recipe | None:
    """The recipe as it was fitted when the run began."""
    if not path.exists():
        return None
    plan = json.loads(path.read_text())
    stages = tuple(replace(s, steps=n) for s, n in zip(recipe.stages, plan["steps"], strict=True))
    return replace(recipe.cut(stages), warmup=plan["warmup"], select_every=plan["select_every"])


def save_plan(path: Path, recipe: Recipe) -> None:
    plan = {
        "steps": [s.steps for s in recipe.stages],
        "warmup": recipe.warmup,
        "select_every": recipe.select_every,
    }
    write_whole(path, json.dumps(plan).encode(), True)


def join(out: Path) -> None:
    """The checkpoint of its parts, where they are more recent than it."""
    parts = sorted(out.glob("checkpoint-*.part"))
    whole = out / "checkpoint.pt"
    if parts and not whole.exists():
        write_whole(whole, b"".join(part.read_bytes() for part in parts), True)


def split(out: Path) -> None:
    """The checkpoint in parts that may travel; the whole one goes."""
    whole = out / "checkpoint.pt"
    for part in out.glob("checkpoint-*.part"):
        part.unlink()
    data = whole.read_bytes()
    for number, at in enumerate(range(0, len(data), PART)):
        write_whole(out / f"checkpoint-{number:02d}.part", data[at : at + PART], True)
    whole.unlink()


def trained(trainer: Trainer, seconds: float) -> bool:
    """Train to the recipe's end, or until the time is up; whether it came to the end."""
    until = time.monotonic() + seconds

    def report(said: Report) -> None:
        chosen = "" if said.psnr is None else f", {said.psnr:.2f} dB"
        print(
            f"step {said.step} of {trainer.recipe.steps}: loss {said.loss:.5f}, {said.samples:.0f} pictures/s{chosen}",
            flush=True,
        )
        if time.monotonic() > until and said.step < trainer.recipe.steps:
            trainer.save()
            raise TimeIsUp

    try:
        trainer.run(report, every=max(1, trainer.recipe.select_every // 4), save_every=1 << 62)
    except TimeIsUp:
        return False
    return True


def scores(trainer: Trainer, clips: Path, device: str, *, ended: bool) -> dict[str, object]:
    """PSNR on the select clips: of the best weights of this run, of the bundled ones, and of the mappings."""
    chosen = clip_paths(clips / "select", trainer.recipe.clips.select)
    found: dict[str, object] = {"step": trainer.step, "steps": trainer.recipe.steps, "ended": ended}
    if not chosen:
        return found
    found["psnr"] = round(trainer.best_psnr, 3)
    for name in dict.fromkeys((trainer.recipe.model, "look", "bt2446a", "bt2408")):
        found[f"psnr bundled {name}"] = round(mean_psnr(open_model(name), chosen, device), 3)
    return found


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("recipe", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--pieces", type=Path, required=True, help="folder of piece-*.tar")
    options.add_argument("--clips", type=Path, help="folder to unpack to  [default: OUT/clips]")
    options.add_argument("--minutes", type=float, default=18.0)
    options.add_argument("--device", default="cuda")
    options.add_argument("--batch", type=int, default=1, help="how many times as large batches are")
    options.add_argument("--start", help="weight to begin with, besides the recipe's")
    a = options.parse_args()
    begun = time.monotonic()
    clips: Path = a.clips or a.out / "clips"
    a.out.mkdir(parents=True, exist_ok=True)
    count = unpack(sorted(a.pieces.glob("piece-*.tar")), clips, os.cpu_count() or 1)
    print(f"{count} training clips after {time.monotonic() - begun:.0f} s")
    recipe = read_recipe(recipe_path(a.recipe))
    stages = tuple(replace(s, batch=s.batch * a.batch) for s in recipe.stages)
    recipe = replace(recipe, stages=stages, clips=replace(recipe.clips, count=count))
    sources = (*recipe.starts, *([a.start] if a.start else []))
    alone = registry.stands_alone(recipe.model, recipe.config)
    start = starting_tensors(*sources, alone=alone)
    join(a.out)
    plan = a.out / "plan.json"
    known = load_plan(plan, recipe)
    left = 60 * a.minutes - (time.monotonic() - begun)
    fit = known or fitted(recipe, clips, a.out, left, a.device)
    save_plan(plan, fit)
    trainer = Trainer(fit, clips, a.out, device=a.device, start=start)
    resident(trainer, clips)
    print(
        f"{'going on' if trainer.resume() else 'beginning'} at step {trainer.step} of {fit.steps}"
    )
    left = 60 * a.minutes - (time.monotonic() - begun)
    ended = trained(trainer, left * (1 - RESERVE / 2))
    config = registry.spec(fit.model, fit.config).config
    save_weights(
        a.out / f"{fit.name}.safetensors",
        fit.model,
        trainer.averaged(),
        config,
        {"recipe": fit.name},
        exact=registry.buffers(fit.model, fit.config),
    )
    result = scores(trainer, clips, a.device, ended=ended)
    write_whole(a.out / "scores.json", json.dumps(result, indent=1).encode(), True)
    if (a.out / "loss.csv").exists():
        draw(a.out)
    split(a.out)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
