"""Scene lists: the scenes of a data set, and their split into training and test scenes.

As WMNet's authors did with HDRTV4K (section IV-A), frames are grouped into scenes, scenes of at least eight frames are
kept, and 80 % of the scenes are drawn for training.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sdr2hdr.color.yuv import YuvLayout
from sdr2hdr.data.paired import PairedScene
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import read_png
from sdr2hdr.reading import read_text
from sdr2hdr.scenes.likeness import Structure, likeness
from sdr2hdr.scenes.small import small_frame
from sdr2hdr.text import printable

_PNG = YuvLayout("rgb", full_range=True)
LEAST = 8
SHARE = 0.8

_ALIKE, _FOUND = 0.5, 0.3
"""Two neighbouring frames show the same place from this correlation of their structure on, or this share of texture found
again: the limits that the scene detector puts on either side of a cut. Unrelated pictures have about 0.3 and 0.03."""

Part = Literal["train", "test"]


@dataclass(frozen=True)
class ListedScene:
    """A scene: the folder it is in ("." for none), its frames' names without suffix, in order, and what it is for."""

    name: str
    folder: str
    frames: tuple[str, ...]
    part: Part


@dataclass(frozen=True)
class SceneList:
    """All scenes that were kept, in order, and what they were drawn with."""

    scenes: tuple[ListedScene, ...]
    seed: int
    least: int
    dropped: int

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def list_scenes(
    scenes: Sequence[PairedScene],
    *,
    least: int = LEAST,
    share: float = SHARE,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> SceneList:
    """Group frames into scenes, keep those of at least ``least`` frames, and draw a ``share`` of them for training.

    Frames are taken in the order of their names; a new scene begins with each sub-folder, and with each frame that shows
    another place than the frame before it. Raises InputError if no scene is long enough.
    """
    runs: list[tuple[str, list[str]]] = []
    total, done, short = sum(len(s) for s in scenes), 0, 0
    for scene in scenes:
        before = None
        for path in scene.sdr:
            small = small_frame(tuple(read_png(path)), _PNG)
            here = Structure(small.numpy())
            alike, found = (0.0, 0.0) if before is None else likeness(before, here)
            if alike > _ALIKE or found > _FOUND:
                runs[-1][1].append(path.stem)
            else:
                runs.append((scene.name, [path.stem]))
            before = here
            done += 1
            progress(done, total)
    kept = [r for r in runs if len(r[1]) >= least]
    short = len(runs) - len(kept)
    if not kept:
        longest = max(len(r[1]) for r in runs)
        raise InputError(
            f"No scene of {scenes[0].sdr[0].parent} has {least} frames, the longest has {longest}; allow fewer with --least."
        )
    train = min(round(share * len(kept)), len(kept) - (len(kept) > 1))
    drawn = set(np.random.default_rng(seed).permutation(len(kept))[:train].tolist())
    width = max(3, len(str(len(kept))))
    listed = tuple(
        ListedScene(f"s{i:0{width}d}", folder, tuple(frames), "train" if i in drawn else "test")
        for i, (folder, frames) in enumerate(kept)
    )
    return SceneList(listed, seed, least, short)


def read_scene_list(path: Path) -> SceneList:
    """A list written by :meth:`SceneList.to_json`. Raises InputError, also for a frame or a name that is there twice, for a
    scene without frames, and for a name that cannot be a folder's."""
    try:
        data = json.loads(read_text(path, "a list that dataset scenes wrote"))
        scenes = tuple(
            ListedScene(
                str(s["name"]), str(s["folder"]), tuple(map(str, s["frames"])), _part(s["part"])
            )
            for s in data["scenes"]
        )
        found = SceneList(scenes, int(data["seed"]), int(data["least"]), int(data["dropped"]))
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise InputError(
            f"{path} is no list of scenes ({e!r}); make one with sdr2hdr dataset scenes."
        ) from e
    if not scenes:
        raise InputError(f"{path} lists no scenes; make one with sdr2hdr dataset scenes.")
    names: set[str] = set()
    of: dict[tuple[str, str], ListedScene] = {}
    for scene in scenes:
        if not _names_folder(scene.name):
            raise InputError(
                f"{path} has a scene named {scene.name!r}, which cannot be the name of a folder; correct the list."
            )
        if scene.name in names:
            raise InputError(f"{path} has two scenes named {scene.name}; correct the list.")
        names.add(scene.name)
        if not scene.frames:
            raise InputError(
                f"{path} lists no frames in {scene.name}; take the scene out or add its frames."
            )
        for frame in scene.frames:
            if (other := of.get((scene.folder, frame))) is scene:
                raise InputError(
                    f"{path} lists frame {frame} twice in {scene.name}; correct the list."
                )
            if other is not None:
                raise InputError(
                    f"{path} lists frame {frame} in {other.name} ({other.part}) and in {scene.name} ({scene.part}); "
                    "a frame belongs to one scene: correct the list."
                )
            of[scene.folder, frame] = scene
    return found


def _names_folder(name: str) -> bool:
    """Whether a folder can have this name on every system, and lies right where it is made and is not hidden."""
    return (
        name != ""
        and not name.startswith(".")
        and name == printable(name)
        and not set(name) & set("/\\:")
    )


def _part(value: object) -> Part:
    if value == "train":
        return "train"
    if value == "test":
        return "test"
    raise ValueError(f"part {value!r}")


def select(
    scenes: Sequence[PairedScene], listed: SceneList, part: Part | None
) -> list[PairedScene]:
    """The listed scenes of one part (all for None) with their files. Raises InputError where a listed frame is missing."""
    folders = {s.name: {p.stem: i for i, p in enumerate(s.sdr)} for s in scenes}
    by_name = {s.name: s for s in scenes}
    out = []
    for wanted in listed.scenes:
        if part is not None and wanted.part != part:
            continue
        numbers = folders.get(wanted.folder, {})
        missing = [f for f in wanted.frames if f not in numbers]
        if missing:
            raise InputError(
                f"Frame {missing[0]} of scene {wanted.name} is not among the frames given; name the data set the list is of."
            )
        own = by_name[wanted.folder]
        chosen = [numbers[f] for f in wanted.frames]
        sdr, hdr, compressed = (
            tuple(files[i] for i in chosen) if files else ()
            for files in (own.sdr, own.hdr, own.compressed)
        )
        out.append(PairedScene(wanted.name, sdr, hdr, compressed=compressed))
    return out


def select_from(scenes: Sequence[PairedScene], path: Path, part: str) -> list[PairedScene]:
    """:func:`select` from the list in a file; ``part`` is train, test or all. Raises InputError where it has no such scene."""
    found = select(scenes, read_scene_list(path), None if part == "all" else _part(part))
    if not found:
        raise InputError(f"{path} has no scene for {part}; ask for --part all.")
    return found
