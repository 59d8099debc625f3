"""FMSTFNet's parts added one after the other (table II of its paper), each network trained on the same clips for as many steps.

    python benchmarks/ablation.py --clips RUN/clips --out DIR [--steps 300] [--recipe fmstfnet]

``--clips`` is the folder that `sdr2hdr train` made. Stages keep their shares of the steps. Scores are those of the averaged
weights on the last frame of every select clip, which the network reaches with its memory: mean PSNR, SSIM and dE_ITP.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from sdr2hdr.metrics.measures import Meter, choose
from sdr2hdr.models.fmstfnet import PARTS
from sdr2hdr.render.device import keep_one_heap
from sdr2hdr.training.evaluate import apply
from sdr2hdr.training.loop import Trainer
from sdr2hdr.training.recipe import Recipe, read_recipe, recipe_path
from sdr2hdr.training.store import read_clip
from sdr2hdr.weights.load import starting_tensors

MEASURES = ["psnr", "ssim", "de_itp"]


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with its stages and its warm-up cut to ``steps`` steps in all; choosing among steps is left out."""
    share = steps / recipe.steps
    stages = tuple(replace(s, steps=max(1, round(s.steps * share))) for s in recipe.stages)
    return replace(recipe, stages=stages, warmup=max(1, round(recipe.warmup * share)), select_every=10**9)


def scores(trainer: Trainer) -> dict[str, float]:
    """Means over the select clips of the averaged weights."""
    trainer._publish(trainer.average)
    net = trainer.net.eval()
    total = dict.fromkeys(MEASURES, 0.0)
    paths = trainer.chosen_on.paths
    for path in paths:
        clip = read_clip(path)
        result = apply(net, trainer.spec, clip.sdr())
        meter = Meter(choose(MEASURES).measures)
        values = meter.add(result[-1], clip.hdr()[-1]) | meter.finish()
        total = {k: v + values[k] / len(paths) for k, v in total.items()}
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--recipe", type=Path, default=Path("fmstfnet"))
    a = parser.parse_args()
    keep_one_heap()
    recipe = shortened(read_recipe(recipe_path(a.recipe)), a.steps)
    start = starting_tensors(recipe.start)
    print(f"{recipe.steps} steps each; base without a network: ", end="", flush=True)
    trainer = Trainer(recipe, a.clips, a.out / "none", start=start)
    print(", ".join(f"{k} {v:.4g}" for k, v in scores(trainer).items()), flush=True)
    for count in range(len(PARTS) + 1):
        parts = list(PARTS[:count])
        config = {**recipe.config, "parts": parts}
        trainer = Trainer(replace(recipe, config=config), a.clips, a.out / f"{count}", start=start)
        trainer.resume()
        trainer.run(lambda _: None, every=10**9, save_every=10**9)
        size = sum(p.numel() for n, p in trainer.net.named_parameters() if not n.startswith("look."))
        found = ", ".join(f"{k} {v:.4f}" for k, v in scores(trainer).items())
        print(f"{' '.join(['cgfm', *parts])} ({size / 1e6:.2f} M): {found}", flush=True)


if __name__ == "__main__":
    main()
