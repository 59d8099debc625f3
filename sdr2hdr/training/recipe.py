"""A training recipe: everything that decides a weight, as data."""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sdr2hdr.errors import InputError

RECIPES = Path(__file__).parent / "recipes"
TASKS = ("mapping", "masked", "restoration", "autoencoder", "diffusion", "temporal", "fusion")
SPACES = ("look", "vgg19")


def _said(thing: Any, **usual: float) -> str:
    """As of any dataclass, but for keys that came later, where they are as usual: checkpoints know their recipe by this."""
    said = (
        f"{f.name}={getattr(thing, f.name)!r}"
        for f in fields(thing)
        if f.name not in usual or getattr(thing, f.name) != usual[f.name]
    )
    return f"{type(thing).__name__}({', '.join(said)})"


@dataclass(frozen=True, repr=False)
class Stage:
    """``steps`` optimiser steps of ``batch`` clips of ``frames`` frames, cut to ``patch`` pixels.

    ``task`` is ``mapping`` (SDR to HDR), ``masked`` (phase I of WMNet: the SDR picture from its masked low band),
    ``restoration`` (DIDNet's restored SDR alone, nothing moved) or one of HDR-V-Diff's: ``autoencoder``, ``diffusion``,
    ``temporal``, ``fusion``. What is not the encoder begins anew when mapping follows masking. ``masking`` is the share of
    places hidden at phase I's end.
    """

    steps: int
    batch: int
    frames: int
    patch: int
    task: str = "mapping"
    masking: float = 0.5

    def __repr__(self) -> str:
        return _said(self, masking=0.5)


@dataclass(frozen=True, repr=False)
class ClipSet:
    """``count`` training clips of ``frames`` pictures of ``height`` x ``width``, made once; ``select`` more to choose on.

    ``graded`` is the share of the simulated clips that have the look ``graded``, the others share the rest. ``restaged`` is the
    share whose scene is lit, tinted or mixed with another first: more scenes than there are stills.
    """

    count: int
    frames: int = 3
    height: int = 160
    width: int = 256
    select: int = 64
    seed: int = 0
    graded: float = 0.30
    restaged: float = 0.0

    def __repr__(self) -> str:
        return _said(self, graded=0.30, restaged=0.0)


@dataclass(frozen=True, repr=False)
class Recipe:
    """The stages follow each other under one cosine of the learning rate, or under one each where it begins ``anew``.

    ``start`` names weights whose tensors of the same name and shape the network begins with; what begins with ``frozen``
    stays as it is. The loss is L1 plus ``mse_weight`` MSE plus ``ssim_weight`` (1 - SSIM) on PQ codes; ``aux_weight`` is the
    share of the loss that judges a model's restored SDR, where it gives one. ``pyramid_weight`` times the L1 of the detail of
    full and half size, and ``perceptual_weight`` times that in the feature space ``perceptual`` (``look`` or ``vgg19``) are
    added. ``clean_weight`` times the logarithm of a picture's MSE is added, of codes to what the base ``look`` makes of the SDR
    before it was compressed, and of a restored SDR to that SDR. Clips compressed at a QP below ``strong_from`` are drawn anew
    once, so that strong compression is met more often.
    """

    name: str
    model: str
    clips: ClipSet
    stages: tuple[Stage, ...]
    learning_rate: float = 4e-4
    warmup: int = 100
    mse_weight: float = 10.0
    ssim_weight: float = 0.0
    aux_weight: float = 0.2
    pyramid_weight: float = 0.0
    perceptual_weight: float = 0.0
    clean_weight: float = 0.0
    strong_from: int = 0
    perceptual: str = "look"
    ema: float = 0.999
    seed: int = 0
    select_every: int = 500
    start: str = ""
    frozen: str = ""
    anew: bool = False
    config: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return _said(self, clean_weight=0.0, strong_from=0, anew=False)

    @property
    def steps(self) -> int:
        return sum(s.steps for s in self.stages)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage of a step and the step within it."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        return self.stages[-1], self.stages[-1].steps - 1


def recipe_path(name: Path) -> Path:
    """The file that a name stands for: one of the recipes that come with sdr2hdr, or the path as it is."""
    bundled = RECIPES / f"{name}.toml"
    return bundled if not name.suffix and len(name.parts) == 1 and bundled.exists() else name


def read_recipe(path: Path) -> Recipe:
    """A recipe from TOML; raises InputError naming the file and the key that is unknown, missing or of the wrong kind."""
    try:
        data = tomllib.loads(path.read_text())
        stages = tuple(Stage(**s) for s in data.pop("stages"))
        clips = ClipSet(**data.pop("clips"))
        unknown = set(data) - {f.name for f in fields(Recipe)}
        if unknown:
            raise InputError(
                f"Recipe {path} has the unknown key {sorted(unknown)[0]!r}; see docs/training.md for the known ones."
            )
        recipe = Recipe(stages=stages, clips=clips, **data)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise InputError(f"Recipe {path} cannot be read: {e}.") from e
    except (KeyError, TypeError) as e:
        raise InputError(f"Recipe {path} is not complete: {e}; see docs/training.md.") from e
    for thing, kinds in ((recipe, _KINDS[Recipe]), (clips, _KINDS[ClipSet]), *((s, _KINDS[Stage]) for s in stages)):
        for key, kind in kinds.items():
            value = getattr(thing, key)
            if (
                not isinstance(value, kind)
                or isinstance(value, bool) != (kind is bool)
                or (isinstance(value, int | float) and value < 0)
            ):
                raise InputError(f"Recipe {path}: {key} = {value!r} is no {_NAMES[kind]}; see docs/training.md.")
    if (
        clips.count < 1
        or clips.frames < 1
        or min(clips.height, clips.width) < 32
        or clips.height % 2
        or clips.width % 2
        or max(clips.graded, clips.restaged) > 1
    ):
        raise InputError(
            f"Recipe {path} has impossible clips {clips}: sides are even and 32 at least, shares 1 at most."
        )
    if recipe.perceptual not in SPACES:
        raise InputError(f"Recipe {path}: perceptual = {recipe.perceptual!r} is none of {', '.join(SPACES)}.")
    for s in stages:
        if min(s.steps, s.batch, s.frames, s.patch) < 1 or s.patch % 8 or s.task not in TASKS or s.masking > 1:
            raise InputError(
                f"Recipe {path} has an impossible stage {s}: all must be positive, patch a multiple of 8, "
                f"task one of {', '.join(TASKS)}, masking 1 at most."
            )
        if s.patch > min(clips.height, clips.width) or s.frames > clips.frames:
            raise InputError(f"Recipe {path}: stage {s} asks for more than a clip has ({clips}).")
    return recipe


_NAMES: dict[Any, str] = {int: "whole number from 0", (int, float): "number from 0", str: "text", dict: "table"}
_NAMES |= {bool: "true or false"}
_KINDS: dict[type, dict[str, Any]] = {
    Stage: {"steps": int, "batch": int, "frames": int, "patch": int, "task": str, "masking": (int, float)},
    ClipSet: {
        **dict.fromkeys(("count", "frames", "height", "width", "select", "seed"), int),
        **dict.fromkeys(("graded", "restaged"), (int, float)),
    },
    Recipe: {
        **dict.fromkeys(("name", "model", "start", "frozen", "perceptual"), str),
        **dict.fromkeys(("warmup", "seed", "select_every", "strong_from"), int),
        **dict.fromkeys(("learning_rate", "mse_weight", "ssim_weight", "aux_weight", "ema"), (int, float)),
        **dict.fromkeys(("pyramid_weight", "perceptual_weight", "clean_weight"), (int, float)),
        "anew": bool,
        "config": dict,
    },
}
