"""A forecast of a conversion, before any work is done."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from av.stream import Disposition, Stream

from sdr2hdr.errors import InputError
from sdr2hdr.media.fate import CONVERTED, UNWRAPPED, Fate
from sdr2hdr.media.info import SourceInfo
from sdr2hdr.media.kept_headers import not_kept
from sdr2hdr.media.source import Source
from sdr2hdr.media.stream_plan import StreamPlan, open_to_copy, plan_streams

LOOKED_AT = 50
"""Pictures at the beginning that show what will be done about fields: ten groups of telecine's
five."""


def outlook(source: Source, container: str) -> tuple[StreamPlan | None, dict[str, Any]]:
    """What becomes of the streams of an SDR source, and what a conversion to ``container`` will
    report.

    Options have their defaults. ``notes`` follow from headers; ``first_pictures`` from as many
    pictures as ``pictures_seen``.
    """
    info = source.info
    try:
        plan = plan_streams(source.path, container, "hevc", info.stream)
        seen = sum(1 for _ in islice(source.pictures(), LOOKED_AT))
    except InputError as error:
        return None, refused(error, container)
    clock = info.clock.notes
    captions = (
        ["closed captions in the picture (CEA-608 or 708) are carried over"]
        if info.headers.captions
        else []
    )
    return plan, {
        "to": container,
        "refused": None,
        "notes": [*clock, *not_kept(info.headers, container), *captions],
        "pictures_seen": seen,
        "first_pictures": [note for note in source.notes if note not in clock],
    }


def refused(error: InputError, container: str) -> dict[str, Any]:
    """The outlook of a file that cannot be converted."""
    return {
        "to": container,
        "refused": str(error),
        "notes": [],
        "pictures_seen": 0,
        "first_pictures": [],
    }


def streams(path: Path, info: SourceInfo, plan: StreamPlan | None) -> list[dict[str, Any]]:
    """The streams of a file in their order, with what becomes of each by the plan, if there is
    one."""
    with open_to_copy(path) as file:
        return list(_rows(file.streams, info, plan))


def _rows(
    listed: Iterable[Stream], info: SourceInfo, plan: StreamPlan | None
) -> Iterator[dict[str, Any]]:
    fates = {} if plan is None else {fate.index: fate for fate in plan.fates}
    for stream in listed:
        tags = stream.metadata
        context = stream.codec_context
        row = {
            "stream": stream.index,
            "kind": stream.type,
            "codec": context.codec.canonical_name if context is not None else None,
            "language": info.headers.languages.get(stream.index) or tags.get("language"),
            "title": tags.get("title") or tags.get("filename"),
            "flags": [
                str(flag.name).replace("_", " ")
                for flag in Disposition
                if flag & stream.disposition
            ],
        }
        if plan is not None:
            is_film = stream.index == info.stream
            row["convert"] = "converted to HDR10" if is_film else _fate(fates.get(stream.index))
        yield row


def _fate(fate: Fate | None) -> str:
    if (
        fate is None
    ):  # known here and not to the plan: FFmpeg finds some streams only when it reads on
        return "left out"
    if fate.note.startswith(fate.name):
        return fate.note.removeprefix(fate.name).strip()
    how = f"{fate.how} to {fate.codec}" if fate.how == CONVERTED and fate.codec else fate.how
    how = "unwrapped" if fate.how == UNWRAPPED else how
    return f"{how}: {fate.note}" if fate.note else how
