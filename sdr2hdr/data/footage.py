"""Clips from finished masters: folders of paired frames (HDRTV1K, HDRTV4K) and HDR10 or HLG films.

Nothing is graded here, because the masters already are. Paired frames bring their own SDR; a film's SDR is rendered from it
by a drawn look. Every clip follows from (seed, split, number) alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from sdr2hdr.color.exposure import brightness_between
from sdr2hdr.color.transfer import pq_eotf, pq_inverse_eotf
from sdr2hdr.data.area import check_size, drawn_area, window
from sdr2hdr.data.clips import PAIR_PEAK, Clip, ClipMaker, exact_clip, finish
from sdr2hdr.data.damage import USUAL_DAMAGE, Damage
from sdr2hdr.data.grading import USUAL, Mix, brightness_of, rendition
from sdr2hdr.data.paired import PairedScene, paired_scenes, sides, with_compressed
from sdr2hdr.data.scene_list import SceneList, read_scene_list, select
from sdr2hdr.data.splits import TrainingSplit, rng, set_aside
from sdr2hdr.data.stills import SUFFIXES
from sdr2hdr.data.vimeo import VimeoMaker
from sdr2hdr.errors import InputError
from sdr2hdr.media.png import png_facts, read_codes
from sdr2hdr.media.source import Source
from sdr2hdr.scenes.detector import Detector
from sdr2hdr.scenes.small import small_frame

FILMS = (".mp4", ".mkv", ".mov", ".webm", ".m4v", ".ts", ".m2ts")
UNDAMAGED = 0.25
"""The usual share of paired clips whose SDR stays as it is: data sets cut from films went through a codec already."""

_PLACE = re.compile(r"_y\d+_x\d+$")  # what `dataset crop` adds to the name of a scene


class Maker(Protocol):
    """Makes the clips of one split of a corpus."""

    @property
    def scenes(self) -> int:
        """How many scenes there are to make clips of."""

    def train_clip(self, number: int) -> Clip:
        """Clip ``number`` of an endless list."""


def open_corpus(
    folder: Path,
    split: TrainingSplit,
    *,
    size: tuple[int, int],
    frames: int,
    seed: int,
    listed: Path | None = None,
    mix: Mix = USUAL,
    damage: Damage = USUAL_DAMAGE,
    exact: bool = False,
) -> Maker:
    """The maker of clips (``frames`` pictures of ``size`` = height, width) for whatever ``folder`` holds.

    Of ``mix``, the shares of looks matter where looks are drawn, the others for stills alone. ``damage`` is the codec's. With
    ``exact`` paired frames are taken as they are (:class:`PairedMaker`).

    That is HDR stills, paired frames, septuplets of Vimeo-90K, or HDR films (or one film). ``listed`` is a list of scenes
    for paired frames, of which those for training are taken. Raises InputError for anything else, and for errors in it.
    """
    try:
        names = (
            [p for p in folder.iterdir() if not p.name.startswith(".")]
            if folder.is_dir()
            else [folder]
        )
    except OSError as e:
        raise InputError(
            f"{folder} cannot be read ({e.strerror}); name the folder of a corpus."
        ) from e
    if any(p.is_dir() and "sdr" in p.name.lower() for p in names):
        return PairedMaker(
            folder, split, size=size, frames=frames, seed=seed, listed=listed, damage=damage,
            exact=exact,
        )  # fmt: skip
    if any(p.is_dir() and p.name == "sequences" for p in names):
        return VimeoMaker(folder, split, size=size, frames=frames, seed=seed)
    if exact:
        raise InputError(
            f"The recipe takes paired frames as they are, and {folder} has none; name the folder of a data set of pairs."
        )
    if listed is not None:
        raise InputError(
            f"A list of scenes is for folders of paired frames, and {folder} is none; leave --scenes out."
        )
    if (
        any(p.name == "manifest.json" or p.suffix.lower() in SUFFIXES for p in names)
        or not folder.exists()
    ):
        return ClipMaker(folder, split, size=size, frames=frames, seed=seed, mix=mix, damage=damage)
    films = sorted(p for p in names if p.suffix.lower() in FILMS)
    if films:
        return FilmMaker(films, split, size=size, frames=frames, seed=seed, mix=mix, damage=damage)
    raise InputError(
        f"{folder} is no training corpus: it holds no manifest.json, no HDR stills (.exr, .hdr), no folders of paired frames "
        "(sdr and hdr), no septuplets (sequences) and no HDR films."
    )


def scene_of(name: str) -> str:
    """The scene that a scene's patch was cut from by `dataset crop`, by the patch's name; other names stay as they are."""
    return _PLACE.sub("", name)


def training_scenes(scenes: Sequence[PairedScene], listed: SceneList) -> list[PairedScene]:
    """The training scenes of a list, or the patches that `dataset crop` cut from them."""
    parts = {s.name: s.part for s in listed.scenes}
    names = [scene_of(s.name) for s in scenes]
    patches = all(_PLACE.search(s.name) for s in scenes)
    if patches and all(n in parts for n in names):
        return [s for s, n in zip(scenes, names, strict=True) if parts[n] == "train"]
    return select(scenes, listed, "train")


class PairedMaker:
    """Clips from paired frames: windows of neighbouring frames, downscaled by a whole number or not at all.

    With ``exact`` they are cut from the frames as they are, from all scenes; only with a share ``undamaged`` some or all then
    go through a codec. If the data set has compressed SDR (``train_lq``), that is the SDR of the clips, and none goes through a
    codec again. Of a data set with a part for training and one for tests, the former is read.
    """

    def __init__(
        self,
        folder: Path,
        split: TrainingSplit,
        *,
        size: tuple[int, int],
        frames: int,
        seed: int = 0,
        listed: Path | None = None,
        damage: Damage = USUAL_DAMAGE,
        exact: bool = False,
    ) -> None:
        self.split, self.size, self.frames, self.seed = split, size, frames, seed
        self.damage, self.exact = damage, exact
        sdr, hdr = sides(folder, "train")
        found = paired_scenes(sdr, hdr)
        if exact:
            found = with_compressed(found, sdr)
        if listed is not None:
            found = training_scenes(found, read_scene_list(listed))
            if not found:
                raise InputError(
                    f"{listed} lets no scene of {folder} be trained on; name the list that it was made with."
                )
        apart: list[PairedScene] = []
        for scene in found:
            if scene.loose:  # each unrelated frame is a scene
                for n, (a, b) in enumerate(zip(scene.sdr, scene.hdr, strict=True)):
                    one = scene.compressed[n : n + 1]
                    apart.append(PairedScene(a.stem, (a,), (b,), compressed=one))
            else:
                apart.append(scene)
        long = [s for s in apart if len(s) >= frames]
        if not long:
            raise InputError(
                f"No scene of {folder} has {frames} frames, the longest has {max(map(len, apart))}; ask for fewer in the "
                "recipe, or group the frames with sdr2hdr dataset scenes."
            )
        for scene in long:
            _check_sizes(scene, size)
        if exact:
            self.material = long if split == "train" else []
            return
        mine = set(set_aside(sorted({scene_of(s.name) for s in long}), split))
        self.material = [s for s in long if scene_of(s.name) in mine]

    @property
    def scenes(self) -> int:
        return len(self.material)

    def train_clip(self, number: int) -> Clip:
        random = rng(self.seed, self.split, number)
        scene = self.material[int(random.integers(len(self.material)))]
        first = int(random.integers(len(scene) - self.frames + 1))
        pictures = [scene.pair(first + t) for t in range(self.frames)]
        whole = (pictures[0][0].shape[-2], pictures[0][0].shape[-1])
        if self.exact:
            area = drawn_area(random, whole, self.size)
            sdr, codes = (torch.stack(p)[(..., *area)] for p in zip(*pictures, strict=True))
            brightness = brightness_between(sdr[0], pq_eotf(codes[0]))
            qp, damage = self.damage.qp(random, 1.0), self.damage
            if scene.compressed:
                qp = damage.qps[0] if len(damage.qps) == 1 else 0  # 0: not known
            files = scene.compressed[first : first + self.frames]
            compressed = [read_codes(path)[(..., *area)] for path in files]
            return exact_clip(
                sdr, codes, scene.name, qp, random,
                brightness=brightness, damage=damage,
                compressed=torch.stack(compressed) if compressed else None,
            )  # fmt: skip
        area, shrink = window(random, whole, self.size)
        sdr, codes = (
            avg_pool2d(torch.stack(p)[(..., *area)], shrink) for p in zip(*pictures, strict=True)
        )
        qp = self.damage.qp(random, UNDAMAGED)
        return finish(
            sdr,
            codes,
            scene.name,
            "paired",
            qp,
            random,
            brightness=brightness_between(sdr[0], pq_eotf(codes[0])),
            damage=self.damage,
        )


def _check_sizes(scene: PairedScene, size: tuple[int, int]) -> None:
    width, height = png_facts(scene.sdr[0]).size
    check_size(f"{scene.sdr[0]} is", (width, height), size)
    for path in scene.sdr:
        other = png_facts(path).size
        if other != (width, height):
            raise InputError(
                f"{path} is {other[0]}x{other[1]}, but {scene.sdr[0]} of the same scene is {width}x{height}; scale one or take "
                "it out."
            )


@dataclass(frozen=True)
class Shot:
    """The pts of the frames between two cuts of a film."""

    film: Path
    number: int
    pts: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.film.stem}_{self.number:03d}"


@lru_cache(maxsize=256)
def shots(film: Path) -> tuple[Shot, ...]:
    """The shots of an HDR10 or HLG film, which is decoded once for it. Raises InputError, for an SDR one too."""
    source = Source(film, hdr=True, hlg=True)
    if source.info.hdr is None:
        raise InputError(
            f"{film} is SDR, and training needs an HDR master (HDR10 or HLG); take it out of the folder."
        )
    detector, pts, cuts = Detector(source.info.time_base), [], []
    for picture in source.pictures():
        small = small_frame(picture.planes, picture.layout)
        cuts += detector.push(small, picture.pts)
        pts.append(picture.pts)
    cuts += detector.close()
    begins = sorted({0, *(c.frame for c in cuts)})
    ends = [*begins[1:], len(pts)]
    return tuple(
        Shot(film, i, tuple(pts[a:b])) for i, (a, b) in enumerate(zip(begins, ends, strict=True))
    )


class FilmMaker:
    """Windows of neighbouring frames out of HDR films, up to 1000 nits, and their SDR by a random look."""

    def __init__(
        self,
        films: Sequence[Path],
        split: TrainingSplit,
        *,
        size: tuple[int, int],
        frames: int,
        seed: int = 0,
        mix: Mix = USUAL,
        damage: Damage = USUAL_DAMAGE,
    ) -> None:
        self.split, self.size, self.frames, self.seed = split, size, frames, seed
        self.mix, self.damage = mix, damage
        for film in films:
            check_size(f"{film} is", Source(film, hdr=True, hlg=True).info.size, size)
        every = [s for film in films for s in shots(film)]
        long = {s.name: s for s in every if len(s.pts) >= frames}
        if not long:
            longest = max(len(s.pts) for s in every)
            raise InputError(
                f"No shot of {films[0]} has {frames} frames, the longest has {longest}; ask for fewer in the recipe."
            )
        self.material = [long[n] for n in set_aside(sorted(long), split)]

    @property
    def scenes(self) -> int:
        return len(self.material)

    def train_clip(self, number: int) -> Clip:
        random = rng(self.seed, self.split, number)
        shot = self.material[int(random.integers(len(self.material)))]
        first = int(random.integers(len(shot.pts) - self.frames + 1))
        source = Source(shot.film, hdr=True, hlg=True)
        codes = [p.codes() for p in islice(source.pictures(shot.pts[first]), self.frames)]
        area, shrink = window(random, (codes[0].shape[-2], codes[0].shape[-1]), self.size)
        nits = pq_eotf(avg_pool2d(torch.stack(codes)[(..., *area)].clamp(0, 1), shrink)).clamp_max(
            PAIR_PEAK
        )
        look, qp = self.mix.look(random), self.damage.qp(random)
        brightness = float(np.exp(random.uniform(0.0, np.log(4.5)))) if look == "grades" else 0.0
        render = rendition(look, random, PAIR_PEAK, brightness)
        brightness = brightness_of(render, PAIR_PEAK)
        return finish(
            render(nits),
            pq_inverse_eotf(nits),
            shot.name,
            look,
            qp,
            random,
            brightness=brightness,
            damage=self.damage,
        )
