"""A training recipe: everything that decides a weight, as data."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from sdr2hdr.data.grading import CHARTS, Mix
from sdr2hdr.errors import InputError
from sdr2hdr.reading import read_toml
from sdr2hdr.typed import typed

RECIPES = Path(__file__).parent / "recipes"

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Weight = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Side = Annotated[int, Meta(ge=32, multiple_of=2)]
Patch = Annotated[int, Meta(ge=8, multiple_of=8)]


def _said(thing: Any, **usual: float) -> str:
    """A dataclass repr that omits newer fields at their defaults, so that old checkpoints still match their recipe."""
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
    ``restoration`` (DIDNet's restored SDR alone, without alignment) or one of HDR-V-Diff's: ``autoencoder``, ``diffusion``,
    ``temporal``, ``fusion``. If mapping follows masking, everything but the encoder is reinitialised. ``masking`` is the
    share of coefficients hidden at the end of phase I.
    """

    steps: Count
    batch: Count
    frames: Count
    patch: Patch
    task: Literal[
        "mapping", "masked", "restoration", "autoencoder", "diffusion", "temporal", "fusion"
    ] = "mapping"
    masking: Share = 0.5

    def __repr__(self) -> str:
        return _said(self, masking=0.5)


@dataclass(frozen=True, repr=False)
class ClipSet:
    """``count`` training clips of ``frames`` pictures of ``height`` x ``width``, made once; ``select`` more for choosing
    the best weight.

    The other keys are the shares of :class:`~sdr2hdr.data.grading.Mix`.
    """

    count: Count
    frames: Count = 3
    height: Side = 160
    width: Side = 256
    select: Whole = 64
    seed: Whole = 0
    graded: Share = 0.30
    grades: Share = 0.0
    pairs: Share = 0.14
    aces: Share = 0.0
    restaged: Share = 0.0
    undamaged: Share = 0.0

    def __repr__(self) -> str:
        return _said(
            self, graded=0.30, grades=0.0, pairs=0.14, aces=0.0, restaged=0.0, undamaged=0.0
        )

    @property
    def mix(self) -> Mix:
        """The mix of clips to draw."""
        return Mix(**{f.name: getattr(self, f.name) for f in fields(Mix)})


@dataclass(frozen=True, repr=False)
class Recipe:
    """The stages share one cosine of the learning rate, or have one each with ``anew``.

    The network starts from the tensors of ``start`` with the same name and shape; tensors whose names begin with ``frozen``
    do not change. The loss is L1 plus ``mse_weight`` MSE plus ``ssim_weight`` (1 - SSIM) on PQ codes, plus
    ``log_mse_weight`` times the logarithm of each picture's MSE and ``itp_weight`` times its dE_ITP; ``aux_weight`` is the
    share of the loss for the restored SDR, if the model returns one. ``pyramid_weight`` times the L1 of the detail of full
    and half size, and ``perceptual_weight`` times that in the feature space ``perceptual`` (``look`` or ``vgg19``) are
    added. ``clean_weight`` times the logarithm of a picture's MSE is added, of codes to what the base ``look`` makes of the
    SDR before it was compressed, and of a restored SDR to that SDR. Clips with a QP below ``strong_from`` are redrawn once,
    so that strong compression is more frequent. ``config`` has options of the network, or is ``published`` for the form of
    its paper.
    """

    name: str
    model: str
    clips: ClipSet
    stages: tuple[Stage, ...]
    learning_rate: Weight = 4e-4
    warmup: Whole = 100
    mse_weight: Weight = 10.0
    ssim_weight: Weight = 0.0
    log_mse_weight: Weight = 0.0
    itp_weight: Weight = 0.0
    aux_weight: Weight = 0.2
    pyramid_weight: Weight = 0.0
    perceptual_weight: Weight = 0.0
    clean_weight: Weight = 0.0
    strong_from: Whole = 0
    perceptual: Literal["look", "vgg19"] = "look"
    ema: Weight = 0.999
    seed: Whole = 0
    select_every: Whole = 500
    start: str = ""
    frozen: str = ""
    anew: bool = False
    config: dict[str, Any] | str = field(default_factory=dict)

    def __repr__(self) -> str:
        return _said(
            self, log_mse_weight=0.0, itp_weight=0.0, clean_weight=0.0, strong_from=0, anew=False
        )

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
    """The file for a name: a bundled recipe, or the path itself."""
    bundled = RECIPES / f"{name}.toml"
    return bundled if not name.suffix and len(name.parts) == 1 and bundled.exists() else name


def read_recipe(path: Path) -> Recipe:
    """A recipe from TOML; raises InputError naming the file and the key that is unknown, missing or of the wrong kind."""
    try:
        recipe = typed(read_toml(path, "a recipe"), Recipe)
    except ValueError as e:
        raise InputError(f"Recipe {path}: {e}; see docs/training.md.") from e
    clips = recipe.clips
    if max(clips.graded + clips.grades, clips.pairs + clips.aces + CHARTS) > 1:
        raise InputError(
            f"Recipe {path}: the shares of {clips} add up to more than 1; see docs/training.md."
        )
    for stage in recipe.stages:
        if stage.patch > min(clips.height, clips.width) or stage.frames > clips.frames:
            raise InputError(
                f"Recipe {path}: stage {stage} asks for more than a clip has ({clips})."
            )
    return recipe
