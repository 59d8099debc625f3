"""Folders of paired frames in the layout of HDRTV1K and HDRTV4K: 8-bit SDR PNGs, and 16-bit PQ PNGs of the same names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from sdr2hdr.errors import InputError
from sdr2hdr.media.png import png_facts, read_codes

_PARTS = {"train": "training", "test": "tests"}
_BESIDE = {".json", ".txt", ".md", ".toml", ".csv"}  # files about the pictures, not pictures


@dataclass(frozen=True)
class PairedScene:
    """Frames of one scene in the order of their names, SDR and HDR; ``loose`` frames are unrelated to each other.

    ``compressed`` are the SDR frames after a codec, if the data set has them.
    """

    name: str
    sdr: tuple[Path, ...]
    hdr: tuple[Path, ...]
    loose: bool = False
    compressed: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.sdr)

    def pair(self, number: int) -> tuple[Tensor, Tensor]:
        """A frame's SDR R'G'B' codes (BT.709) and PQ codes (BT.2020), both ``3,H,W`` float32 0..1. Raises InputError."""
        return read_codes(self.sdr[number]), read_codes(self.hdr[number])


def sides(folder: Path, part: str | None = None) -> tuple[Path, Path]:
    """The SDR and the HDR folder inside a data set: ``sdr`` and ``hdr``, or two names that differ in that alone (``test_sdr``).

    Of several pairs, that whose names begin with ``part`` ("train" or "test") is meant; a single pair of the other part is
    not. Raises InputError if there is no such pair, or more than one.
    """
    try:
        names = {p.name: p for p in folder.iterdir() if p.is_dir()}
    except OSError as e:
        raise InputError(
            f"{folder} cannot be read ({e.strerror}); name the folder of a data set."
        ) from e
    found = []
    for name, path in sorted(names.items()):
        other = next(
            (
                o
                for o in names
                if o.lower() == name.lower().replace("sdr", "hdr") and "sdr" in name.lower()
            ),
            None,
        )
        if other is not None:
            found.append((path, names[other]))
    alone = [
        name
        for name in sorted(names)
        if ("sdr" in name.lower()) != ("hdr" in name.lower())
        and names[name] not in {path for pair in found for path in pair}
    ]
    if part and any(name.lower().startswith(part) for name in alone):
        name = next(name for name in alone if name.lower().startswith(part))
        raise InputError(f"{folder} holds {name} without its partner; download the whole data set.")
    if len(found) == 1:
        name = found[0][0].name
        if part in _PARTS and name.lower().startswith(tuple(p for p in _PARTS if p != part)):
            raise InputError(
                f"{folder} holds no frames for {_PARTS[part]}, only {name} and its HDR; download the whole data set, or name the "
                "two folders one by one."
            )
        return found[0]
    chosen = [pair for pair in found if part and pair[0].name.lower().startswith(part)]
    if len(chosen) == 1:
        return chosen[0]
    if found:
        pairs = ", ".join(sdr.name for sdr, _ in found)
        raise InputError(
            f"{folder} holds more than one data set ({pairs} and their HDR); name the two folders one by one."
        )
    raise InputError(
        f"{folder} holds no pair of folders of SDR and HDR frames; name them sdr and hdr, or train_sdr and train_hdr."
    )


def paired_scenes(sdr: Path, hdr: Path, *, results: bool = False) -> list[PairedScene]:
    """The scenes of two folders, each a sub-folder; frames right in the folders are ``loose``, of a scene named ".".

    With ``results`` the first folder holds 16-bit PQ frames that somebody made, not SDR ones. All headers are read.
    Raises InputError for frames without a partner, of another size or depth, unreadable, or tagged HLG.
    """
    left, right = frame_files(sdr), frame_files(hdr)
    for ours, theirs, other in ((left, right, hdr), (right, left, sdr)):
        alone = [path for key, path in ours.items() if key not in theirs]
        if alone:
            more = f" (nor {len(alone) - 1} more)" if len(alone) > 1 else ""
            raise InputError(
                f"{alone[0]} has no frame of the same name in {other}{more}; take it out or add its partner."
            )
    if not left:
        raise InputError(f"{sdr} holds no PNG frames; name the folder that does.")
    scenes: dict[str, list[str]] = {}
    for scene, name in left:
        _check(left[scene, name], right[scene, name], results)
        scenes.setdefault(scene, []).append(name)
    return [
        PairedScene(
            scene,
            tuple(left[scene, n] for n in names),
            tuple(right[scene, n] for n in names),
            loose=scene == ".",
        )
        for scene, names in scenes.items()
    ]


def with_compressed(scenes: Sequence[PairedScene], sdr: Path) -> list[PairedScene]:
    """The scenes with the frames of the folder of compressed SDR, if there is one beside the folder ``sdr``: its name has "lq" in
    place of "sdr" (``train_lq``). Raises InputError for frames that are missing or of another depth or size."""
    folder = sdr.with_name(re.sub("sdr", "lq", sdr.name, flags=re.IGNORECASE))
    if not folder.is_dir():
        return list(scenes)
    files = frame_files(folder)
    found = []
    for scene in scenes:
        mine = [files.get((scene.name, path.stem)) for path in scene.sdr]
        for path, compressed in zip(scene.sdr, mine, strict=True):
            if compressed is None:
                raise InputError(
                    f"{path} has no frame of the same name in {folder}; make that folder again with `sdr2hdr dataset compress`."
                )
            a, b = png_facts(path), png_facts(compressed)
            if (a.size, a.depth) != (b.size, b.depth):
                raise InputError(
                    f"{compressed} has another size or depth than {path}; make its folder again with `sdr2hdr dataset compress`."
                )
        found.append(replace(scene, compressed=tuple(filter(None, mine))))
    return found


def frame_files(folder: Path) -> dict[tuple[str, str], Path]:
    """PNG files right in a folder and one level below, by (scene, stem) in order; frames right in it are of the scene ".".

    Raises InputError for other files but texts.
    """
    found = {}
    try:
        paths = sorted(
            [*folder.iterdir(), *(p for d in folder.iterdir() if d.is_dir() for p in d.iterdir())]
        )
    except OSError as e:
        raise InputError(
            f"{folder} cannot be read ({e.strerror}); name a folder of PNG frames."
        ) from e
    for path in paths:
        if path.name.startswith(".") or path.is_dir() or path.suffix.lower() in _BESIDE:
            continue
        if path.suffix.lower() != ".png":
            raise InputError(f"{path} is not a PNG; take it out of the folder or make it one.")
        scene = "." if path.parent == folder else path.parent.name
        found[scene, path.stem] = path
    return found


def check_transfer(path: Path, transfer: str, wanted: str) -> None:
    """Raise InputError where a picture's tag says that it is coded otherwise than such folders are."""
    if transfer in ("pq", "hlg") and transfer != wanted:
        raise InputError(
            f"{path} is tagged {transfer.upper()}, but is among {wanted.upper()} frames; convert it or take it out."
        )


def _check(sdr: Path, hdr: Path, results: bool) -> None:
    a, b = png_facts(sdr), png_facts(hdr)
    if a.depth != 8 and not results:
        raise InputError(
            f"{sdr} has {a.depth} bits, SDR frames have 8; the folders may have changed places."
        )
    for path, facts in ((sdr, a), (hdr, b))[0 if results else 1 :]:
        if facts.depth != 16:
            raise InputError(
                f"{path} has {facts.depth} bits, PQ frames have 16; export them again from the HDR video."
            )
    check_transfer(sdr, a.transfer, "pq" if results else "sdr")
    check_transfer(hdr, b.transfer, "pq")
    if a.size != b.size:
        sizes = "x".join(map(str, a.size)), "x".join(map(str, b.size))
        raise InputError(
            f"{sdr} is {sizes[0]}, but {hdr} is {sizes[1]}; scale one or take both out."
        )
