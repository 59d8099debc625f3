"""The plan of a batch: the videos of a folder, their options, the names of their outputs, and a time estimate."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sdr2hdr.batch.overrides import NAME, check_options, overridden
from sdr2hdr.batch.report import FINISHED, Row, leads_out, read_rows
from sdr2hdr.codecs import CODECS
from sdr2hdr.errors import InputError, OutputError
from sdr2hdr.jobs.auto import early_choice
from sdr2hdr.jobs.plan import Fingerprint
from sdr2hdr.media.info import SourceInfo, read_info
from sdr2hdr.options import AUTO, Options, declared

VIDEO_ENDINGS = (
    *(
        ".3gp",
        ".asf",
        ".avi",
        ".divx",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
    ),
    *(".ogv", ".vob", ".webm", ".wmv"),
)
"""Only for files that cannot be read: with these endings, the failure is reported."""
_STILLS = {"gif", "apng", "ico"}
_STILL_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1"}
_ENDED = (*FINISHED, "failed", "left out")
SECONDS_PER_MEGAPIXEL = {"bt2408": 0.4, "bt2446a": 0.4, "look": 0.6}
"""Estimates before any measurement: one core of 2020 with encoding; other models take longer."""
SECONDS_OTHERWISE = 3.0
BITS_PER_PIXEL = 0.3


@dataclass
class BatchPlan:
    """Everything a batch knows before it starts; ``rows`` in the order of conversion, with the ``options`` of each."""

    source: Path
    target: Path
    rows: list[Row]
    options: list[Options]
    earlier: list[Row]
    passed_over: int
    seconds_per_megapixel: dict[str, float]
    bits_per_pixel: float

    @property
    def todo(self) -> list[int]:
        return [i for i, row in enumerate(self.rows) if row.status == "planned"]

    def seconds(self, row: Row) -> float:
        """The estimated time for a file."""
        rate = self.seconds_per_megapixel.get(
            row.model, SECONDS_PER_MEGAPIXEL.get(row.model, SECONDS_OTHERWISE)
        )
        return rate * row.megapixels

    def bytes(self, row: Row) -> int:
        """The estimated size of a file's output, without sound; the conversion needs half as much again."""
        return int(self.bits_per_pixel * row.megapixels * 1e6 / 8)


def make_plan(
    source: Path,
    target: Path,
    options: Options,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    looked_at: Callable[[int], None] = lambda _: None,
    wanted: Callable[[Path], bool] = lambda _: True,
    *,
    strict: bool = True,
) -> BatchPlan:
    """Plan the conversion of ``source``. A folder's ``sdr2hdr.toml`` may overrule ``options``.

    ``include`` and ``exclude`` are shell patterns for names or for paths within ``source``; a file that is not ``wanted`` is
    passed over, too, and keeps its row of an earlier run. Writes nothing. Raises InputError if a folder or, if ``strict``, a
    TOML file cannot be used (else the videos below it wait), OutputError if both folders are the same.
    """
    if not source.is_dir():
        raise InputError(f"{source} is not a folder; for a single file use `sdr2hdr convert`.")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is not a folder; name the folder to write to.")
    if target.resolve() == source.resolve():
        raise OutputError(f"{target} is the source folder itself; name another folder to write to.")
    check_options(options)
    known = read_rows(target)
    rows: list[Row] = []
    resolved: list[Options] = []
    passed_over = 0
    folders: dict[Path, Options] = {}
    sources: set[Path] = set()
    for number, found in enumerate(walk(source, target.resolve())):
        looked_at(number)
        if isinstance(found, Row):
            rows.append(found)
            resolved.append(options)
            continue
        sources.add(found.resolve())
        name = found.relative_to(source).as_posix()
        if not wanted(found):
            if name in known and known[name].status in _ENDED:
                rows.append(known[name])
                resolved.append(options)
            continue
        if (include and not _matches(name, include)) or _matches(name, exclude):
            continue
        row, mine = _asked_for(found, source, options, folders, strict)
        if row is None:
            passed_over += 1
            continue
        rows.append(row)
        resolved.append(mine)
    _name_outputs(rows, resolved, known)
    for row, mine in zip(rows, resolved, strict=True):
        if row.status == "planned":
            _compare(row, known.get(row.source), target, mine, sources)
    names = {row.source for row in rows}
    rates, bits = _rates(known.values())
    return BatchPlan(
        source,
        target,
        rows,
        resolved,
        [r for r in known.values() if r.source not in names],
        passed_over,
        rates,
        bits,
    )


def walk(source: Path, target: Path) -> Iterator[Path | Row]:
    """Files in order of their names, and a failed row for each folder that cannot be read. Links to folders, hidden names,
    the output folder and overrides are passed over."""
    errors: list[OSError] = []
    for folder, below, files in os.walk(source, onerror=errors.append):
        here = Path(folder)
        below[:] = sorted(
            n for n in below if not n.startswith(".") and (here / n).resolve() != target
        )
        yield from (here / n for n in sorted(files) if not n.startswith(".") and n != NAME)
    for e in errors:
        cause = f"{e.filename} cannot be read ({e.strerror}); check its permissions."
        name = Path(os.path.relpath(e.filename, source)).as_posix()
        yield Row(name, status="failed", cause=cause, exit_code=3)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, p) or fnmatchcase(Path(name).name, p) for p in patterns)


def _asked_for(
    path: Path, source: Path, options: Options, read: dict[Path, Options], strict: bool
) -> tuple[Row | None, Options]:
    """A file's row, as :func:`_look_at` gives it, and its options. If they are wrong, a video waits unless it is ``strict``."""
    name = path.relative_to(source).as_posix()
    try:
        mine = _options_for(path.parent, source, options, read)
    except InputError as e:
        if strict:
            raise
        row = _look_at(path, name, options)
        if row is not None and row.status == "planned":
            row.status, row.cause, row.exit_code = "waiting", str(e), e.exit_code
        return row, options
    return _look_at(path, name, mine), mine


def _options_for(
    folder: Path, source: Path, options: Options, read: dict[Path, Options]
) -> Options:
    """The options of a folder: its own file takes precedence over the folders above, these over the command line."""
    if folder not in read:
        above = options if folder == source else _options_for(folder.parent, source, options, read)
        read[folder] = overridden(above, folder)
    return read[folder]


def check_folders(source: Path, target: Path, options: Options) -> None:
    """Raise InputError if a ``sdr2hdr.toml`` above a file in ``source`` cannot be used; ``target`` is passed over."""
    read: dict[Path, Options] = {}
    for found in walk(source, target.resolve()):
        if isinstance(found, Path):
            _options_for(found.parent, source, options, read)


def _look_at(path: Path, name: str, options: Options) -> Row | None:
    """A row for a video; None for any other file: a picture, sound, a text."""
    choice = early_choice(options)
    row = Row(name, model=AUTO if choice is None else choice.model)
    try:
        info = read_info(
            path,
            options.input_matrix,
            options.input_range,
            transfer=options.input_transfer,
            primaries=options.input_primaries,
            keep_start=options.keep_start,
        )
        if _is_still(path, info):
            return None
        row.fingerprint = asdict(Fingerprint.of(path))
    except InputError as e:
        if (
            path.suffix.lower() not in VIDEO_ENDINGS
            or "holds no video" in str(e)
            or "only a cover" in str(e)
        ):
            return None
        row.status, row.cause, row.exit_code = "failed", str(e), e.exit_code
        return row
    row.width, row.height = info.size
    row.frames = info.frames
    row.length = None if info.duration is None else float(info.duration * info.time_base)
    if info.hdr is not None:
        row.status, row.cause = "left out", f"It is HDR already ({info.hdr})."
    row.settings = _settings(options)
    return row


def _settings(options: Options) -> dict[str, Any]:
    """The options that decide an output, as JSON, with the content of the files that they name."""
    found = options.deciding("picture", "file")
    named = {
        o.name: found[o.name]
        for o in declared()
        if o.about.names_file and found[o.name] is not None
    }
    hashes = {
        f"{k}_sha256": Fingerprint.of(Path(v)).sha256 for k, v in named.items() if Path(v).is_file()
    }
    return {k: list(v) if isinstance(v, tuple) else v for k, v in (found | hashes).items()}


def _is_still(path: Path, info: SourceInfo) -> bool:
    names = set(info.container.split(","))
    if names & _STILLS or info.is_still:
        return True
    with path.open("rb") as f:
        head = f.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS


def _name_outputs(rows: Sequence[Row], options: Sequence[Options], known: dict[str, Row]) -> None:
    """Name the outputs. Names given by earlier runs stay; two equal names include the source's ending."""
    taken = {row.output.casefold() for row in known.values() if row.output}
    wanted: dict[str, list[Row]] = {}
    endings = {}
    for row, mine in zip(rows, options, strict=True):
        if not row.width or row.status == "left out":
            continue
        endings[row.source] = ending = "." + (mine.container or CODECS[mine.codec].containers[0])
        before = known.get(row.source)
        if before is not None and before.output.endswith(ending):
            row.output = before.output
        else:
            wanted.setdefault(_with_ending(row, ending).casefold(), []).append(row)
    for short, group in sorted(wanted.items()):
        for row in group:
            ending = endings[row.source]
            row.output = _with_ending(row, ending)
            if len(group) > 1 or short in taken:
                row.output = row.source + ending
            number = 2
            while row.output.casefold() in taken:
                row.output, number = f"{row.source}-{number}{ending}", number + 1
            taken.add(row.output.casefold())


def _with_ending(row: Row, ending: str) -> str:
    return Path(row.source).with_suffix(ending).as_posix()


def _compare(
    row: Row, before: Row | None, target: Path, options: Options, sources: set[Path]
) -> None:
    """Decide whether a file is done and unchanged, may be converted, or would replace a file that no batch made."""
    out = target / row.output
    try:
        if leads_out(target, row.output):
            row.status, row.exit_code = "failed", 4
            row.cause = f"{out} leads to another place through a link; remove the link, or choose another output folder."
            return
        there = out.stat().st_size if out.exists() else None
        is_source = out.resolve() in sources
    except OSError as e:  # for example a name that is too long
        row.status, row.cause, row.exit_code = (
            "failed",
            f"{out} cannot be written ({e.strerror}).",
            4,
        )
        return
    if is_source:
        row.status, row.exit_code = "failed", 4
        row.cause = (
            f"{out} is itself a source, which is never written; choose another output folder."
        )
        return
    if before is not None and before.output == row.output:
        finished = before.status in FINISHED
        row.ours = before.ours and (not finished or there == before.bytes)
        # an option that is newer than the report had its default
        settings = Options().deciding("picture", "file") | before.settings
        same = (before.fingerprint, settings) == (row.fingerprint, row.settings)
        if finished and same and there is not None and there == before.bytes:
            vars(row).update(vars(before), status="unchanged")
            return
    if there is not None and not row.ours and not options.overwrite:
        row.status, row.exit_code = "failed", 4
        row.cause = f"{out} exists and was not written by a batch, or was changed since; move it away, or replace it with -y."


def _rates(rows: Iterable[Row]) -> tuple[dict[str, float], float]:
    """Seconds per megapixel by model and bits per pixel, of files converted in one go; the defaults where there are none."""
    straight = [r for r in rows if r.status in FINISHED and not r.resumed and r.megapixels]
    rates = {}
    for model in {r.model for r in straight}:
        mine = [r for r in straight if r.model == model]
        rates[model] = sum(r.seconds for r in mine) / sum(r.megapixels for r in mine)
    bits = (
        sum(r.bytes or 0 for r in straight) * 8e-6 / sum(r.megapixels for r in straight)
        if straight
        else 0.0
    )
    return rates, bits or BITS_PER_PIXEL
