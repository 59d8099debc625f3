"""The papers' own results and how they were measured (``papers.toml``), and ours measured in the same way."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdr2hdr.errors import InputError
from sdr2hdr.evaluation.films import measure
from sdr2hdr.evaluation.protocols import protocol
from sdr2hdr.evaluation.scores import Summary, summary
from sdr2hdr.evaluation.strips import Pairing, pairings
from sdr2hdr.evaluation.worst import Worst
from sdr2hdr.metrics.measures import Measure, choose
from sdr2hdr.reading import read_toml
from sdr2hdr.training.recipe import Recipe, Stage
from sdr2hdr.typed import typed
from sdr2hdr.writing import write_whole

PAPERS = Path(__file__).parent / "papers.toml"
PEAK = 10000.0
"""Papers limit codes to 0..1 alone."""


@dataclass(frozen=True)
class Table:
    """A table of a paper, or what it has for one protocol: values by method and by measure, in ``rows``.

    They are of the data set ``set`` (a folder's name), or of its scenes with so many ``exposures``. Its SDR was compressed at
    ``qps``, or not if there are none. Of sets of ``middle`` frames the middle one is judged, or all frames if it is None.
    ``note`` is a sentence about what its rows lack.
    """

    name: str
    set: str
    rows: dict[str, dict[str, float]]
    qps: tuple[int, ...] = ()
    intra: bool = False
    middle: int | None = None
    exposures: int | None = None
    note: str = ""

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures of the table, in its order."""
        return tuple(dict.fromkeys(key for values in self.rows.values() for key in values))


@dataclass(frozen=True)
class Paper:
    """What it takes to reproduce a paper: its recipe, the data set that it trains on, and its tables.

    Patches of ``crop`` pixels are cut from the data set first (0: none). ``ours`` names the paper's own method in the tables.
    With ``weight_for_each_qp`` the paper trains a weight for each table, at the table's QPs.
    """

    title: str
    recipe: str
    train: str
    ours: str
    tables: tuple[Table, ...]
    crop: int = 0
    weight_for_each_qp: bool = False


@dataclass(frozen=True)
class Run:
    """A weight to train, in the folder ``name`` of the output, and the tables that are measured with it."""

    name: str
    recipe: Recipe
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Measured:
    """A table's values with a weight of ours, by measure, and the number of frames that they are means of.

    ``notes`` are sentences about what is missing: from the paper's rows, or from ours.
    """

    table: Table
    values: Mapping[str, float]
    frames: int
    notes: tuple[str, ...]


def papers() -> dict[str, Paper]:
    """All papers, by the name of their network."""
    return {name: typed(values, Paper) for name, values in read_toml(PAPERS, "papers").items()}


def data_set(data: Path, name: str) -> Path | None:
    """The folder of a data set below ``data``, or ``data`` itself if that is its name; None if there is none."""
    if (data / name).is_dir():
        return data / name
    return data if data.resolve().name == name else None


def training_set(data: Path, paper: Paper) -> Path:
    """The folder that a paper's network is trained on. Raises InputError if it is missing or cannot serve."""
    found = data_set(data, paper.train)
    if found is None:
        raise InputError(
            f"{data} holds no folder {paper.train}, on which {paper.ours} is trained; docs/datasets.md says where to get it."
        )
    if paper.weight_for_each_qp and (lq := found / "train_lq").is_dir():
        raise InputError(
            f"{lq} holds SDR of one QP, and {paper.ours} trains a weight for each; move it away, then x265 codes the clips."
        )
    return found


def measured_pairs(data: Path, table: Table) -> list[Pairing] | None:
    """The frames that a table is measured on; None if the data set is missing. Raises InputError if it is damaged."""
    folder = data_set(data, table.set)
    if folder is None:
        return None
    pairs = pairings(folder, None, None, "test")
    if any(pair.truth is None for pair in pairs):
        raise InputError(
            f"{folder} is of another layout than {table.set}: its frames have no HDR beside them; docs/datasets.md shows the "
            "layout."
        )
    if table.exposures is not None:
        pairs = [p for p in pairs if len(set(p.times)) == table.exposures]
        if not pairs:
            raise InputError(
                f"{folder} holds no scenes of {table.exposures} exposures, which {table.name} is about; download them as well."
            )
    return protocol(pairs, table.qps, intra=table.intra, middle=table.middle)


def runs(paper: Paper, recipe: Recipe) -> list[Run]:
    """The weights that a paper trains with its recipe, or with another one for the same tables."""
    if not paper.weight_for_each_qp:
        return [Run("", recipe, paper.tables)]
    found = []
    for table in paper.tables:
        name = "qp" + "-".join(map(str, table.qps))
        clips = replace(recipe.clips, qps=table.qps)
        made = replace(recipe, name=f"{recipe.name}-{name}", clips=clips)
        found.append(Run(name, made, (table,)))
    return found


def rehearsal(recipe: Recipe, steps: int) -> Recipe:
    """The recipe cut to about ``steps`` steps, each stage to its share, with no more clips than these can use."""
    share = min(1.0, steps / recipe.steps)
    stages: tuple[Stage, ...] = tuple(
        replace(s, steps=max(1, round(s.steps * share))) for s in recipe.stages
    )
    used = sum(s.steps * s.batch for s in stages)
    clips = replace(recipe.clips, count=min(recipe.clips.count, used))
    return replace(recipe.cut(stages), clips=clips)


def measured(
    tables: tuple[Table, ...],
    data: Path,
    weight: Path,
    *,
    device: str = "auto",
    limit: int | None = None,
) -> Iterator[Measured]:
    """Each table measured with a weight as its paper measures, in float32. Raises InputError for a damaged data set."""
    for table in tables:
        pairs, notes = measured_pairs(data, table), [table.note] if table.note else []
        if pairs is None:
            notes.append(f"{table.name} is not measured: {data} holds no folder {table.set}.")
            yield Measured(table, {}, 0, tuple(notes))
            continue
        chosen = choose(table.measures)
        found = means(pairs, weight, chosen.measures, device=device, limit=limit)
        notes += [f"{key} is left out: {why}." for key, why in chosen.absent.items()]
        yield Measured(table, found.mean, found.frames, tuple(notes))


def means(
    pairs: Sequence[Pairing],
    weight: Path,
    measures: Sequence[Measure],
    *,
    device: str = "auto",
    limit: int | None = None,
) -> Summary:
    """What a weight scores as papers measure: in float32, codes limited to 0..1 alone, each frame weighing the same."""
    scores = measure(
        pairs,
        [str(weight)],
        measures,
        Worst(0),
        limit=limit,
        device=device,
        precision="float32",
        peak=PEAK,
    )
    return summary(list(scores))


def write_results(out: Path, results: Mapping[str, Any]) -> None:
    """Write ``results.json`` into a folder."""
    text = json.dumps(results, indent=1) + "\n"
    write_whole(out / "results.json", text.encode(), overwrite=True)
