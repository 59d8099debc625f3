"""A model and frames into frames: windows, padding, tiles, thumbnails, precision, device and state, once for all models."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from sdr2hdr.color.grade import AS_MODEL, BRIGHTNESS, Grade
from sdr2hdr.color.graded import GREYS, Curve, saturated
from sdr2hdr.color.tonemap import bt2390_eetf
from sdr2hdr.color.transfer import CAMERA_GAMMA, WHITE, pq_code, pq_eotf, pq_inverse_eotf
from sdr2hdr.errors import ModelError
from sdr2hdr.models.inputs import field, thumbnail
from sdr2hdr.models.model import Inputs, Model, RepairingModel, RestoringModel
from sdr2hdr.models.parts.precision import to_precision
from sdr2hdr.models.spec import ModelSpec, State
from sdr2hdr.render.device import PRECISIONS, keep_float32, pick_device, pick_precision
from sdr2hdr.render.tiles import Tile, blend_weights, cut, fitting_tile

_CORNER = 32  # pixels, of a frame that is only to be remembered

BRIGHTNESS_RANGE = (1.0, 4.5)
"""Brightnesses that models are trained with."""

MODEL_PEAK = 1000.0
"""Nits that models are trained to reach at most; a lower ``peak`` rolls off from here."""


@dataclass(frozen=True)
class Run:
    """Frames ``first..last`` (last not included) to render, of the scene ``scene_first..scene_last``.

    A run that starts inside its scene starts on a multiple of the model's block from the scene's first frame and needs
    the state saved there, so that its windows are those of the whole scene. ``qp`` is how strongly the scene was compressed
    (:mod:`sdr2hdr.media.quantiser`), if that is known.
    """

    first: int
    last: int
    scene_first: int
    scene_last: int
    qp: float | None = None

    def needs(self, spec: ModelSpec) -> tuple[int, int]:
        """The frames to feed: with the model's context, clamped to the scene."""
        return max(self.scene_first, self.first - spec.past), min(
            self.scene_last, self.last + spec.future
        )


def windows(
    frames: Iterator[Tensor], run: Run, spec: ModelSpec
) -> Iterator[tuple[Tensor, int, int]]:
    """Windows ``T,3,H,W`` of a run with how many of their frames are past and future context.

    ``frames`` yields the pictures ``3,H,W`` of :meth:`Run.needs` in order. No more than a window is held.
    """
    lo, hi = run.needs(spec)
    held: deque[Tensor] = deque()
    begin = lo  # the frame number of held[0]
    for start in range(run.first, run.last, spec.block):
        stop = min(start + spec.block, run.last)
        a, b = max(lo, start - spec.past), min(hi, stop + spec.future)
        while begin + len(held) < b:
            held.append(next(frames))
        while begin < a:
            held.popleft()
            begin += 1
        yield torch.stack(list(held)[: b - a]), start - a, b - stop


class Renderer:
    """Runs a model over windows of one picture size ``height, width``.

    ``device`` and ``precision`` are names or ``auto``. ``tile`` is the largest edge computed at once, in pixels; None takes the
    largest that fits in free memory. The model itself is moved to that device and precision. ``grade`` is what a person decided;
    a model that is told a brightness gets one of 1 to 4.5, and what is beyond is done afterwards. ``peak`` is in nits.
    Results are PQ codes that never exceed the code of ``peak``; with ``aux`` three more channels hold the restored SDR picture,
    R'G'B' 0..1. ``exposures`` are the relative times of the film's frames, repeated to its end, if they alternate; models
    whose spec has no exposures ignore them. Raises ModelError for a device, a precision or a tile that the model cannot use,
    or for ``aux`` if it restores no SDR picture.
    """

    def __init__(
        self,
        model: Model,
        spec: ModelSpec,
        size: tuple[int, int],
        *,
        device: str = "auto",
        precision: str = "auto",
        tile: int | None = None,
        grade: Grade = AS_MODEL,
        peak: float = 1000.0,
        aux: bool = False,
        exposures: Sequence[float] = (),
    ) -> None:
        self.spec, self.size = spec, size
        self.device = pick_device(device)
        self.precision = pick_precision(precision, spec, self.device)
        keep_float32(self.device)
        if aux and not isinstance(model, RestoringModel):
            raise ModelError(f"Model {spec.name} restores no SDR picture.")
        if grade.needs_greys and not spec.greys:
            raise ModelError(
                f"Model {spec.name} as configured has no known mapping of greys; leave --brightness and --highlights out."
            )
        self.grade, self.peak, self.aux = grade, peak, aux
        self.brightness = told_brightness(grade)
        self._graded: tuple[Tensor | None, Curve | None] | None = (
            None  # the last look, and its curve
        )
        self.exposures = tuple(exposures) if spec.exposures else ()
        self.tiles = cut(
            *size, fitting_tile(*size, spec, self.device) if tile is None else tile, spec
        )
        self.model = prepared(model, self.device, self.precision)
        self.weights = [w.to(self.device) for w in blend_weights(self.tiles, spec.margin)]
        self._places: dict[int, Inputs] = {}  # by tile, the inputs that depend on its position

    def new_states(self, look: Tensor | None = None) -> list[State]:
        """The states at the start of a scene, one per tile; ``look`` (V) is the scene's, if it is known beforehand."""
        known = None if look is None else look[None].to(self.device)
        return [
            self.model.new_state((t.bottom - t.top, t.right - t.left), known) for t in self.tiles
        ]

    @torch.inference_mode()
    def recall(self, frame: Tensor, states: list[State]) -> None:
        """Move ``states`` on over a frame ``3,H,W`` that need not be rendered; only if the spec has ``state_from_thumbs``."""
        thumbs = thumbnail(frame[None, None], self.spec.thumb).to(self.device)
        corner = frame[None, None, :, :_CORNER, :_CORNER].to(self.device)
        m = self.spec.multiple
        corner = F.pad(
            corner[0], (0, -corner.shape[-1] % m, 0, -corner.shape[-2] % m), mode="replicate"
        )[None]
        _, state = self.model(corner, states[0], **self._told({"thumbs": thumbs}))
        states[:] = [state] * len(states)  # all tiles see the same thumbnail

    def run(self, frames: Iterator[Tensor], run: Run, states: list[State]) -> Iterator[Tensor]:
        """PQ codes ``3,H,W`` (with ``aux`` ``6,H,W``) float32 on the CPU of each frame; ``states`` are moved on in place."""
        first = run.first
        for window, past, future in windows(frames, run, self.spec):
            yield from self.window(window, past, future, states, first=first - past, qp=run.qp)
            first += len(window) - past - future

    def window(
        self,
        frames: Tensor,
        past: int,
        future: int,
        states: list[State],
        *,
        first: int = 0,
        qp: float | None = None,
    ) -> Tensor:
        """One window ``T,3,H,W`` of R'G'B' 0..1 to codes ``T-past-future,3,H,W`` (with ``aux`` 6 channels) on the CPU.

        ``first`` is the number of its first frame in the film, by which its exposures are known; ``qp`` is that of :class:`Run`.
        Raises ModelError for codes that are no numbers.
        """
        codes, finite = self.window_there(frames, past, future, states, first=first, qp=qp)
        self.check(finite)
        return codes.cpu()

    def check(self, finite: Tensor | bool) -> None:
        """Raise ModelError unless codes were ``finite``."""
        if not finite:
            raise ModelError(
                f"Model {self.spec.name} gave values that are no numbers in {self.precision}; use --precision float32."
            )

    @torch.inference_mode()
    def window_there(
        self,
        frames: Tensor,
        past: int,
        future: int,
        states: list[State],
        *,
        first: int = 0,
        qp: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """:meth:`window` of frames on any device to codes on the renderer's, and whether they are finite, there as well.

        Nothing waits for the device.
        """
        inputs = self._told({"past": past, "future": future, "qp": self._qp(qp)})
        if self.spec.thumb:
            inputs["thumbs"] = thumbnail(frames[None], self.spec.thumb).to(self.device)
        if self.exposures:
            times = [self.exposures[(first + i) % len(self.exposures)] for i in range(len(frames))]
            inputs["exposures"] = torch.tensor([times], device=self.device)

        def codes(part: Tensor, i: int) -> Tensor:
            return self._codes(part, i, inputs, states)

        return self._finish(self._tiled(frames, codes), states[0])

    def repaired(self, frames: Iterator[Tensor], run: Run) -> Iterator[Tensor]:
        """The restored frames ``3,H,W`` of a run of a :class:`RepairingModel`, on the CPU, not clamped and not steadied."""
        for window, past, future in windows(frames, run, self.spec):
            yield from self._repaired(window, past, future, run.qp)

    @torch.inference_mode()
    def _repaired(self, frames: Tensor, past: int, future: int, qp: float | None) -> Tensor:
        told = self._qp(qp)

        def repair(part: Tensor, _i: int) -> Tensor:
            which = range(past, part.shape[0] - future)
            return cast(RepairingModel, self.model).restored_frames(part[None], which, told)[0]

        found = self._tiled(frames, repair)
        self.check(_finite(found))
        return found.cpu()

    def _tiled(self, frames: Tensor, work: Callable[[Tensor, int], Tensor]) -> Tensor:
        """What ``work`` makes of each tile, of padded sides, and its number, put together."""
        if len(self.tiles) == 1:
            return self._tile(frames, self.tiles[0], 0, work)
        out: Tensor | None = None
        for i, (tile, weight) in enumerate(zip(self.tiles, self.weights, strict=True)):
            found = self._tile(frames, tile, i, work)
            if out is None:
                out = found.new_zeros(*found.shape[:2], *frames.shape[2:])
            out[..., tile.top : tile.bottom, tile.left : tile.right] += found * weight
        return cast(Tensor, out)

    @torch.inference_mode()
    def mapped(self, picture: Tensor, state: State) -> Tensor:
        """Codes ``3,H,W`` of a picture ``3,H,W`` of any size in a scene with this state.

        The model is ``pixelwise``, or one that repairs pictures, and this is what it does to them afterwards.
        """
        inputs = self._told({})
        if self.spec.thumb:
            inputs["thumbs"] = picture.new_zeros(1, 1, 3, self.spec.thumb, self.spec.thumb)
        if isinstance(self.model, RepairingModel):
            codes = self.model.mapped(picture[None], state)[:, None]
        else:
            codes, _ = self.model(picture[None, None], state, **inputs)
        finished, finite = self._finish(codes[0].float(), state)
        self.check(finite)
        return finished[0]

    def _curve(self, state: State) -> Curve | None:
        """What the grade makes of the model in a scene with this state; for a look that stays as it is, made once."""
        if not self.grade.needs_greys:
            return None
        if "look_frames" in state:
            return self._curve_of(state)
        look = state.get("look")
        if self._graded is None or self._graded[0] is not look:
            self._graded = look, self._curve_of(state)
        return self._graded[1]

    def _curve_of(self, state: State) -> Curve | None:
        if self.exposures:  # HDR-V-Diff's merge: light over SDR white of the camera's curve
            greys = pq_inverse_eotf(WHITE * GREYS.pow(CAMERA_GAMMA))
        else:
            greys = self.model.greys(GREYS.to(self.device), state)
        return Curve.of(self.grade, greys, max(MODEL_PEAK, self.peak))

    @cached_property
    def _asked(self) -> Tensor:
        return torch.full((1,), self.brightness, device=self.device)

    def _qp(self, qp: float | None) -> Tensor | None:
        """The QP on the renderer's device, for a model that is told it; None where it is not known."""
        if qp is None or not self.spec.qp:
            return None
        return torch.full((1,), qp, device=self.device)

    def _told(self, inputs: Inputs) -> Inputs:
        """The inputs with the brightness that is asked for, of a model that is told it."""
        if self.spec.brightness:
            inputs["brightness"] = self._asked
        return inputs

    def _tile(
        self, frames: Tensor, tile: Tile, i: int, work: Callable[[Tensor, int], Tensor]
    ) -> Tensor:
        part = frames[..., tile.top : tile.bottom, tile.left : tile.right].to(self.device)
        height, width = part.shape[-2:]
        m = self.spec.multiple
        part = F.pad(part, (0, -width % m, 0, -height % m), mode="replicate")
        return work(part, i)[..., :height, :width].float()

    def _codes(self, part: Tensor, i: int, inputs: Inputs, states: list[State]) -> Tensor:
        inputs = inputs | self._place(i, self.tiles[i], part.shape[-2], part.shape[-1])
        if self.aux and isinstance(self.model, RestoringModel):
            codes, sdr, states[i] = self.model.forward_with_aux(part[None], states[i], **inputs)
            codes = torch.cat([codes.float(), sdr.float()], dim=2)
        else:
            codes, states[i] = self.model(part[None], states[i], **inputs)
        return codes[0].float()

    def _place(self, i: int, tile: Tile, height: int, width: int) -> Inputs:
        """The inputs for the position of tile ``i``, of this padded size; they are the same in every window."""
        known = self._places.get(i)
        if known is not None:
            return known
        inputs: Inputs = {}
        if self.spec.noise:
            cell = self.spec.noise_cell
            at = (tile.top // cell, tile.left // cell)
            noise = field(self.spec.noise, (height // cell, width // cell), at)
            inputs["noise"] = noise.to(self.device)
        if self.spec.place:
            rows, columns = self.size
            bottom, right = tile.top + height, tile.left + width
            place = (tile.top / rows, tile.left / columns, bottom / rows, right / columns)
            inputs["place"] = torch.tensor([place], device=self.device)
        self._places[i] = inputs
        return inputs

    def _finish(self, found: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """The grade, in a scene with this state, and the peak: rolled off to one below the model's (BT.2390), never above it.

        Also whether all codes were finite before that.
        """
        finite = _finite(found)
        codes, sdr = found[:, :3], found[:, 3:]
        curve, saturation = self._curve(state), self.grade.saturation
        if curve is not None or saturation != 1.0 or self.peak < MODEL_PEAK:
            most = max(MODEL_PEAK, self.peak)
            nits = pq_eotf(codes) if curve is None else curve(codes)
            if saturation != 1.0:
                nits = saturated(nits, saturation, most)
            codes = pq_inverse_eotf(bt2390_eetf(nits, most, self.peak))
        codes = codes.clamp(0.0, pq_code(self.peak))
        return (torch.cat([codes, sdr.clamp(0.0, 1.0)], dim=1) if self.aux else codes), finite


def told_brightness(grade: Grade) -> float:
    """The brightness that a model is told: what is asked for, in the range that it was trained in."""
    low, high = BRIGHTNESS_RANGE
    return min(max(grade.brightness or BRIGHTNESS, low), high)


def _finite(found: Tensor) -> Tensor:
    """Whether all values are numbers: then so is their sum, which takes a twentieth of the time of looking at each."""
    return torch.isfinite(found.sum(dtype=torch.float32))


def prepared(model: Model, device: torch.device, precision: str) -> Model:
    """The model on its device, in its precision, 2-D kernels in channels-last order (fastest on CPU and GPU alike)."""
    return to_precision(model.to(device), PRECISIONS[precision]).eval()
