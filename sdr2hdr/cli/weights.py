"""``sdr2hdr weights``: the weights' own commands. The manifest is read without loading torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from sdr2hdr.cli.screen import console, say, show_json, show_path, show_text
from sdr2hdr.errors import ModelError, UsageError
from sdr2hdr.text import printable
from sdr2hdr.weights import fetch, manifest
from sdr2hdr.weights.manifest import WeightEntry
from sdr2hdr.writing import make_folder

if TYPE_CHECKING:
    from rich.table import Table

    from sdr2hdr.weights.download import Progress

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.group()
def weights() -> None:
    """List, download, check and import weights.

    \b
    Example:
      sdr2hdr weights list
    """


@weights.command("list")
@_json
def list_(as_json: bool) -> None:
    """List all weights: the bundled ones and your own.

    \b
    Example:
      sdr2hdr weights list
    """
    known = manifest.entries().values()
    if as_json:
        show_json([_facts(entry) for entry in known])
        return
    if not known:
        show_text(f"No weights yet. Your own go into {manifest.user_manifest()}.\n")
        return
    table = _table("weight", "model", "default", "size", "licence", "where")
    for entry in known:
        default = "yes" if entry.default else ""
        _add_row(
            table,
            entry.name,
            entry.model,
            default,
            _size(entry.size),
            entry.licence,
            _whereabouts(entry),
        )
    _print(table)


@weights.command()
@click.argument("name")
@_json
def show(name: str, as_json: bool) -> None:
    """Show everything known about a weight. NAME may also be your own .safetensors file.

    \b
    Example:
      sdr2hdr weights show wmnet
    """
    facts = _facts(_find(name))
    if as_json:
        show_json(facts)
        return
    table = _table("key", "value")
    for key, value in facts.items():
        text = (
            ", ".join(f"{k}: {v}" for k, v in value.items())
            if isinstance(value, dict)
            else str(value)
        )
        _add_row(table, key, text or "-")
    _print(table)


@weights.command()
@click.argument("name")
def pull(name: str) -> None:
    """Download a weight into the cache, check it, and print its path. A damaged copy is replaced.

    \b
    Example:
      sdr2hdr weights pull wmnet
    """
    with _progress(name) as tell:
        path = fetch.pull(manifest.find(name), tell)
    show_path(path)


@weights.command()
@click.argument("name", required=False)
def verify(name: str | None) -> None:
    """Check size and SHA-256 of one weight, or of all weights on this machine.

    \b
    Example:
      sdr2hdr weights verify
    """
    spoilt = []
    for entry in [manifest.find(name)] if name else manifest.entries().values():
        if not name and not _is_here(entry):
            show_text(f"{entry.name}: not downloaded\n")
            continue
        try:
            _checked(entry)
            show_text(f"{entry.name}: good\n")
        except ModelError as e:
            show_text(f"{entry.name}: {printable(e)}\n")
            spoilt.append(entry.name)
    if spoilt:
        raise ModelError(
            f"These weights are not what they should be: {', '.join(spoilt)}; the lines above say why."
        )


@weights.command()
@click.argument("name")
def path(name: str) -> None:
    """Check a weight's file and print its path; downloads nothing.

    \b
    Example:
      sdr2hdr weights path wmnet
    """
    show_path(_checked(manifest.find(name)))


@weights.command("import")
@click.argument("model")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="New file; FILE with .safetensors by default.",
)
def import_(model: str, file: Path, output: Path | None) -> None:
    """Turn the published checkpoint FILE of MODEL into a weight of ours. Nothing in FILE is executed.

    \b
    Example:
      sdr2hdr weights import wmnet stage2.pth -o wmnet-published.safetensors
    """
    from sdr2hdr.weights import importers

    known = importers.published(model)
    say(f"Licence: {known.note}")
    result = importers.import_checkpoint(model, file, output or file.with_suffix(".safetensors"))
    if result.left_out:
        say(f"Left out, as the network has no use for it: {', '.join(result.left_out)}.")
    entry = result.entry
    say(f"Written: {entry.file} ({_size(entry.size)}, SHA-256 {entry.sha256})")
    say(f"Use it with --model {model} --weights {entry.file}")
    say(f"or by name, after adding this to {manifest.user_manifest()}:")
    show_text(entry.to_toml())


@weights.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for NAME.safetensors and its weights.toml.",
)
@click.option(
    "--corpus",
    type=click.Path(path_type=Path),
    default=None,
    help="Measure it on the val scenes of this corpus.",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Measure every n-th clip only.",
)
@click.option("--data", required=True, help="The training data and its licences, in a sentence.")
@click.option("--commit", default="unknown", help="The commit it was trained with.")
@click.option("--worse", is_flag=True, help="Replace a weight that scored better.")
def export_(
    run: Path,
    recipe: Path,
    out: Path,
    corpus: Path | None,
    every: int,
    data: str,
    commit: str,
    worse: bool,
) -> None:
    """Write the weight of a training run, with its manifest entry and scores.

    RUN is the output folder of `sdr2hdr train RECIPE`. The file is in half precision. It holds the weight that was best on the
    select clips, or the last if none was measured.

    \b
    Example:
      sdr2hdr weights export run/ wmnet --out mine/ --corpus hdri/ --data "My own stills"
    """
    from sdr2hdr.training.export import enter, export, scores_of
    from sdr2hdr.training.loop import read_checkpoint
    from sdr2hdr.training.recipe import read_recipe, recipe_path

    r = read_recipe(recipe_path(recipe))
    for option, text in (("--data", data), ("--commit", commit)):
        if not text.strip():
            raise UsageError(f"{option} is empty; say it in words.")
    read_checkpoint(run / "checkpoint.pt", r)
    make_folder(out)
    with TemporaryDirectory(dir=out) as part:
        entry = export(run / "checkpoint.pt", r, Path(part), data=data, commit=commit, scores={})
        written = Path(part) / f"{r.name}.safetensors"
        if corpus is not None:
            entry = replace(entry, scores=scores_of(written, r.model, corpus, every=every))
        enter(entry, out / "weights.toml", worse=worse)
        written.replace(out / written.name)
    show_text(entry.to_toml())


def _find(name: str) -> WeightEntry:
    if not name.endswith(".safetensors"):
        return manifest.find(name)
    from sdr2hdr.weights.load import own_entry

    return own_entry(Path(name))


def _is_here(entry: WeightEntry) -> bool:
    """Whether its file is on this machine; one that is named and missing counts, for nothing can download it."""
    return entry.file is not None or fetch.place(entry).exists()


def _checked(entry: WeightEntry) -> Path:
    """The weight's file, size and hash checked. Raises ModelError, also if it is not downloaded."""
    if not _is_here(entry):
        raise ModelError(
            f"Weight {entry.name!r} is not downloaded yet; run `sdr2hdr weights pull {entry.name}`."
        )
    file = fetch.place(entry)
    fetch.check(file, entry)
    return file


def _facts(entry: WeightEntry) -> dict[str, Any]:
    return entry.facts() | {"path": str(fetch.place(entry)), "present": fetch.place(entry).exists()}


def _whereabouts(entry: WeightEntry) -> str:
    if entry.bundled and entry.file:
        return "comes with sdr2hdr"
    if entry.file:
        return str(entry.file)
    return "in the cache" if fetch.place(entry).exists() else "not downloaded"


def _size(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def _table(*titles: str) -> "Table":
    from rich.table import Table

    table = Table()
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _add_row(table: "Table", *cells: str) -> None:
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))  # Text: brackets in a cell are not markup


def _print(table: "Table") -> None:
    console().print(table)


@contextmanager
def _progress(name: str) -> Iterator["Progress"]:
    """A progress bar on stderr, shown on a terminal only, that appears with the first byte."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    terminal = console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as bar:
        task = bar.add_task(name, total=None, visible=False)
        yield lambda had, size: bar.update(task, completed=had, total=size, visible=True)
