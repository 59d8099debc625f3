"""A training recipe: everything that decides a weight, as data."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from sdr2hdr.data.damage import QPS, Damage
from sdr2hdr.data.grading import CHARTS, Mix
from sdr2hdr.errors import InputError
from sdr2hdr.reading import read_toml
from sdr2hdr.typed import typed
from sdr2hdr.weights.manifest import NAME, NAMES

Initial = Literal["own", "torch", "msra", "msra/10", "xavier"]
"""The names in :mod:`sdr2hdr.training.initial`."""

RECIPES = Path(__file__).parent / "recipes"

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Weight = Annotated[float, Meta(ge=0, le=1e9)]
Decay = Annotated[float, Meta(ge=0, lt=1)]
Qp = Annotated[int, Meta(ge=1, le=51)]
Share = Annotated[float, Meta(ge=0, le=1)]
Side = Annotated[int, Meta(ge=32, multiple_of=2)]
Patch = Annotated[int, Meta(ge=8, multiple_of=8)]
Cycle = Annotated[tuple[Annotated[float, Meta(gt=0)], ...], Meta(min_length=2)]


def _said(thing: Any, *newer: str) -> str:
    """A dataclass repr that omits newer fields at their defaults, so that old checkpoints still match their recipe."""
    said = (
        f"{f.name}={getattr(thing, f.name)!r}"
        for f in fields(thing)
        if f.name not in newer or getattr(thing, f.name) != f.default
    )
    return f"{type(thing).__name__}({', '.join(said)})"


MASKING = ("masking", "hides", "wavelet", "levels")
"""The keys of a stage that are for phase I."""


@dataclass(frozen=True, repr=False)
class Stage:
    """``steps`` optimiser steps of ``batch`` clips of ``frames`` frames, cut to ``patch`` pixels.

    ``task`` is ``mapping`` (SDR to HDR), ``masked`` (phase I of WMNet: the SDR picture from its masked low band),
    ``restoration`` (the restored SDR of the middle frame alone, without alignment), ``repair`` (that
    of any frame) or one of HDR-V-Diff's: ``autoencoder``, ``diffusion``,
    ``temporal``, ``fusion``. If mapping follows masking, everything but the encoder is reinitialised. ``masking`` is the
    share of coefficients hidden at the end of phase I, and ``hides`` what: ``both`` bands (low ones at random, all high ones),
    ``low`` or ``high`` alone, or blocks of 8x8 pixels (``space``). The ``wavelet`` is PyWavelets', with ``levels``.
    """

    steps: Count
    batch: Count
    frames: Count
    patch: Patch
    task: Literal[
        "mapping",
        "masked",
        "restoration",
        "repair",
        "autoencoder",
        "diffusion",
        "temporal",
        "fusion",
    ] = "mapping"
    masking: Share = 0.5
    hides: Literal["both", "low", "high", "space"] = "both"
    wavelet: Literal["haar", "bior4.4", "sym4", "db2"] = "haar"
    levels: Annotated[int, Meta(ge=1, le=3)] = 3

    def __repr__(self) -> str:
        return _said(self, *MASKING)


@dataclass(frozen=True, repr=False)
class ClipSet:
    """``count`` training clips of ``frames`` pictures of ``height`` x ``width``, made once; ``select`` more for choosing
    the best weight (0: the last weight is taken).

    With ``exact`` paired frames are taken as they are: R'G'B' of 8 bits, neither shrunk nor mirrored, without bars, from
    all training scenes (so none are left for ``select``), and through a codec only if ``undamaged`` is given. ``flips``
    lets the patches of a batch be flipped and transposed. The other keys are those of
    :class:`~sdr2hdr.data.grading.Mix` and of :class:`~sdr2hdr.data.damage.Damage`.
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
    undamaged: Share | None = None
    qps: Annotated[tuple[Qp, ...], Meta(min_length=1)] = QPS
    codec: Literal["", "libx264", "libx265"] = ""
    intra: bool = False
    lead: Whole = 0
    exact: bool = False
    flips: bool = True

    def __repr__(self) -> str:
        mixed, damaged = (tuple(f.name for f in fields(kind)) for kind in (Mix, Damage))
        return _said(self, *mixed, *damaged, "exact", "flips")

    @property
    def kind(self) -> str:
        """What decides each of the clips, however many there are."""
        return repr(replace(self, count=1, select=0))

    @property
    def mix(self) -> Mix:
        """The mix of clips to draw."""
        return Mix(**{f.name: getattr(self, f.name) for f in fields(Mix)})

    @property
    def damage(self) -> Damage:
        """What codecs do to the SDR of the clips."""
        return Damage(**{f.name: getattr(self, f.name) for f in fields(Damage)})


_ADDED = (
    "l1_weight",
    "betas",
    "schedule",
    "floor",
    "halved_at",
    "halved_every",
    "clip_gradient",
    "initial",
    "precision",
    "mean_of_last",
    "every_size",
    "scene_memory",
    "block_weight",
    "grid_weight",
    "sdr_share",
    "moving_share",
    "cycles",
    "optimiser",
)
"""Keys that came after the first checkpoints, with defaults that leave those as they were."""


@dataclass(frozen=True, repr=False)
class Recipe:
    """The stages share one schedule of the learning rate, or have one each with ``anew``.

    The ``schedule`` begins with ``warmup`` steps in which the rate rises. ``cosine`` and ``linear`` then fall to ``floor``, a
    share of the ``learning_rate``, at the end; ``halved`` halves it at the steps in ``halved_at``, and after the last of
    them every ``halved_every`` steps (0: no more), and never goes below ``floor``. The ``optimiser`` is ``adam``, or ``muon``
    for convolutions (:class:`~sdr2hdr.training.optimiser.Optimiser`). Adam has the decay rates ``betas``, and a gradient longer
    than ``clip_gradient`` is shortened to it (0: none is). ``initial`` names the initialisation
    (:mod:`sdr2hdr.training.initial`), and ``precision`` what the network computes in; its weights are float32.

    ``config`` are options of the network, or the name of a configuration (:func:`~sdr2hdr.models.registry.configuration`).
    The network starts from the tensors of ``start``, one source or several, with the same name and shape; where sources
    share a tensor the last counts. Tensors whose names begin with ``frozen``, one text or several, do not change.

    The loss is ``l1_weight`` L1 plus ``mse_weight`` MSE plus ``ssim_weight`` (1 - SSIM) on PQ codes, plus
    ``log_mse_weight`` times the logarithm of each picture's MSE and ``itp_weight`` times its dE_ITP; ``aux_weight`` is the
    share of the loss for the restored SDR, if the model returns one. ``pyramid_weight`` times the L1 of the detail of full
    and half size, and ``perceptual_weight`` times that in the feature space ``perceptual`` (``look`` or ``vgg19``) are
    added. With ``every_size`` the loss is the sum over all sizes of the picture that the network makes. ``clean_weight`` times
    the logarithm of a picture's MSE is added, of codes to what the base ``look`` makes of the SDR before it was compressed, and
    of a restored SDR to that SDR. Clips with a QP below ``strong_from`` are redrawn once, so that strong compression is more
    frequent.

    ``block_weight`` times the L1 of the picture of each of KPNet's blocks alone is added, if it has ``heads``.

    ``grid_weight`` times the :func:`~sdr2hdr.training.losses.grid_loss` of a repaired SDR is added. Patches then begin at the
    borders of the codec's blocks.

    With ``scene_memory`` a clip begins with what the network remembers of an earlier clip of its scene, without gradients; in
    every stage anew.

    HDR-V-Diff's stages see ordinary SDR in ``sdr_share`` of the steps and else alternating exposures, of which ``moving_share``
    have an independently moving object. The exposures follow one of the ``cycles`` (none:
    :data:`~sdr2hdr.data.exposures.CYCLES`); one of 1 is clipped at SDR white.

    The weights that are measured and exported are a running mean with the decay ``ema`` (0: the weights as they are), or the
    mean of the weights at the last ``mean_of_last`` multiples of ``select_every`` steps.
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
    ema: Decay = 0.999
    seed: Whole = 0
    select_every: Count = 500
    start: str | tuple[str, ...] = ""
    frozen: str | tuple[str, ...] = ""
    anew: bool = False
    config: dict[str, Any] | str = field(default_factory=dict)
    l1_weight: Weight = 1.0
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    schedule: Literal["cosine", "linear", "halved"] = "cosine"
    floor: Share = 0.01
    halved_at: tuple[Count, ...] = ()
    halved_every: Whole = 0
    clip_gradient: Weight = 1.0
    initial: Initial = "own"
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    mean_of_last: Whole = 0
    every_size: bool = False
    scene_memory: bool = False
    block_weight: Weight = 0.0
    grid_weight: Weight = 0.0
    sdr_share: Share = 0.4
    moving_share: Share = 0.5
    cycles: tuple[Cycle, ...] = ()
    optimiser: Literal["adam", "muon"] = "adam"

    def __repr__(self) -> str:
        older = ("log_mse_weight", "itp_weight", "clean_weight", "strong_from", "anew")
        return _said(self, *older, *_ADDED)

    @property
    def starts(self) -> tuple[str, ...]:
        """The sources of the tensors to start from, in order."""
        sources = (self.start,) if isinstance(self.start, str) else self.start
        return tuple(filter(None, sources))

    def cut(self, stages: tuple[Stage, ...]) -> "Recipe":
        """The recipe with other numbers of steps; warm-up and halvings keep their share of all steps."""
        share = sum(s.steps for s in stages) / self.steps

        def fewer(steps: int) -> int:
            return max(1, round(steps * share)) if steps else 0

        return replace(
            self,
            stages=stages,
            warmup=fewer(self.warmup),
            halved_at=tuple(map(fewer, self.halved_at)),
            halved_every=fewer(self.halved_every),
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
    if not NAME.fullmatch(recipe.name):
        raise InputError(
            f"Recipe {path}: {NAMES}, and it is the name of a weight; see docs/training.md."
        )
    clips = recipe.clips
    if max(clips.graded + clips.grades, clips.pairs + clips.aces + CHARTS) > 1:
        raise InputError(
            f"Recipe {path}: the shares of {clips} add up to more than 1; see docs/training.md."
        )
    if recipe.schedule != "halved" and (recipe.halved_at or recipe.halved_every):
        raise InputError(
            f'Recipe {path}: halved_at and halved_every are for the schedule "halved"; see docs/training.md.'
        )
    if recipe.mean_of_last and recipe.ema:
        raise InputError(
            f"Recipe {path}: mean_of_last takes the place of the running mean; give ema = 0 beside it."
        )
    for stage in recipe.stages:
        if stage.patch > min(clips.height, clips.width) or stage.frames > clips.frames:
            raise InputError(
                f"Recipe {path}: stage {stage} asks for more than a clip has ({clips})."
            )
    return recipe
