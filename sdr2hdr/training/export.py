"""From a checkpoint to a bundled weight: the averaged weights in half precision, and their entry in ``weights.toml``."""

import re
from collections.abc import Mapping
from pathlib import Path

from sdr2hdr.errors import InputError
from sdr2hdr.evaluation.val import BEST, aces_pairs, converter, real_pairs, simulated, table
from sdr2hdr.models import registry
from sdr2hdr.training.loop import read_checkpoint
from sdr2hdr.training.recipe import Recipe
from sdr2hdr.weights.manifest import BUNDLED, WeightEntry, read_manifest
from sdr2hdr.weights.opened import open_model
from sdr2hdr.weights.save import save_weights
from sdr2hdr.writing import write_whole

LICENCE = "Apache-2.0"


def export(
    checkpoint: Path,
    recipe: Recipe,
    folder: Path,
    *,
    data: str,
    commit: str,
    scores: Mapping[str, float | str],
) -> WeightEntry:
    """Write ``NAME.safetensors`` into ``folder`` from a checkpoint of that recipe and return its manifest entry."""
    state = read_checkpoint(checkpoint, recipe)
    config = registry.spec(recipe.model, recipe.config).config
    tensors = state["best"]
    path = folder / f"{recipe.name}.safetensors"
    sha256, size = save_weights(
        path,
        recipe.model,
        tensors,
        config,
        {"licence": LICENCE, "recipe": recipe.name},
        exact=registry.buffers(recipe.model, recipe.config),
    )
    return WeightEntry(
        name=recipe.name,
        model=recipe.model,
        source=f"file:{path.name}",
        sha256=sha256,
        size=size,
        licence=LICENCE,
        data=data,
        recipe=f"training/recipes/{recipe.name}.toml, step {state['step']}",
        commit=commit,
        manifest=BUNDLED,
        config=config,
        scores=dict(scores),
        default=recipe.name == recipe.model,
    )


def scores_of(file: Path, model: str, corpus: Path, *, every: int = 1) -> dict[str, float | str]:
    """Scores of a weight file on the val scenes of a corpus, next to the better static mapping: mean PSNR and dE_ITP.

    If only every n-th clip is measured, the scores hold ``every``.
    """
    names = ("bt2446a", "bt2408")
    models = {
        model: converter(open_model(model, file)),
        **{n: converter(open_model(n)) for n in names},
    }
    found: dict[str, float | str] = {"every": every} if every > 1 else {}
    for kind, scores in (
        ("", simulated(models, corpus, every=every)),
        ("_aces", aces_pairs(models, corpus, every=every)),
        ("_pairs", real_pairs(models, corpus)),
    ):
        every_score = list(scores)
        if not every_score:
            continue
        best = [s for s in every_score if s.part.endswith(BEST)]
        means = table([s for s in every_score if not s.part.endswith(BEST)], "qp")["all"]
        psnr, de_itp = table(best, "qp")["all"][model]
        found |= {f"psnr{kind}_best": round(psnr, 2), f"de_itp{kind}_best": round(de_itp, 2)}
        better = max(names, key=lambda n: means[n][0])
        found |= {
            f"psnr{kind}": round(means[model][0], 2),
            f"de_itp{kind}": round(means[model][1], 2),
        }
        found |= {
            f"psnr{kind}_{better}": round(means[better][0], 2),
            f"de_itp{kind}_{better}": round(means[better][1], 2),
        }
    return found


def enter(entry: WeightEntry, manifest: Path, *, worse: bool = False) -> None:
    """Put an entry into a manifest, replacing the entry of its name; text before the first table is kept.

    Raises InputError if the present entry scored better (``psnr``), unless ``worse`` is allowed.
    """
    old = {e.name: e for e in read_manifest(manifest)} if manifest.exists() else {}
    before, now = (e.scores.get("psnr") if e else None for e in (old.get(entry.name), entry))
    if (
        isinstance(before, int | float)
        and not worse
        and (not isinstance(now, int | float) or now < before)
    ):
        raise InputError(
            f"{manifest}: weight {entry.name!r} scored {before} dB there and {now} now; a worse weight does not "
            "replace a better one (--worse does it all the same)."
        )
    text = manifest.read_text(encoding="utf-8") if manifest.exists() else ""
    head = re.split(r"^\[", text, maxsplit=1, flags=re.MULTILINE)[0].rstrip()
    tables = [e.to_toml() for e in (old | {entry.name: entry}).values()]
    write_whole(
        manifest, "\n".join([head + "\n", *tables] if head else tables).encode(), overwrite=True
    )
