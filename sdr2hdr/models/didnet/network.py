"""DIDNet (Xu et al., "Towards Robust SDRTV-to-HDRTV via Dual Inverse Degradation Network"): seven frames in, the middle one out.

The frames are aligned by deformable convolution and fused (section III-C); the fused features give a restored SDR frame, which an
auxiliary loss trains (III-D); wavelet attention (III-E) and dual modulated convolutions, whose kernels the 3D ConditionNet scales
(III-F, III-G), then give the HDR frame. No code is published: docs/models/didnet.md lists what the paper says and leaves open.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdr2hdr.models.base.corrections import SCALE, SDR_FAINT, bounded, spared
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.didnet.alignment import NEIGHBOURS, Alignment, around
from sdr2hdr.models.didnet.condition import ConditionNet, ModulatedConv
from sdr2hdr.models.didnet.wavelet import WaveletAttention
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.repairing import Repairing
from sdr2hdr.models.model import Model, RestoringModel, Window
from sdr2hdr.models.parts.blocks import keep_variance
from sdr2hdr.models.parts.precision import Float32Conv2d
from sdr2hdr.models.spec import WHOLE, ModelSpec, State

RESTORED_BOUND = 3 / 255
"""The largest change of an SDR code by restoration. Nearly all repairs are smaller, and without a bound dark blue areas
lost 13 codes of their blue."""

_TITLE = "Seven aligned frames for compressed SDR; also restores SDR"
_PAPER = "Xu et al., Towards Robust SDRTV-to-HDRTV via Dual Inverse Degradation Network"

_CORRECTS: dict[str, Any] = {"tasks": ("mapping", "restoration")}
"""What the spec has otherwise where the network corrects a base or stands alone."""

DIDNET_SPEC = ModelSpec(
    name="didnet",
    title=_TITLE,
    paper=_PAPER,
    past=NEIGHBOURS,
    future=NEIGHBOURS,
    block=8,
    multiple=8,
    stateful=True,
    thumb=64,
    look=tone.NUMBERS,
    state_from_thumbs=True,
    brightness=True,
    qp=True,
    tile=512,
    overlap=96,
    margin=32,
    tolerance=0.004,
    precisions=("float32", "bfloat16"),
    bytes_per_pixel=4200,
    has_aux=True,
    tasks=("mapping", "restoration", "repair"),
    config={"base": "repair", "channels": 48, "offset_channels": 32},
    published={
        "base": "none",
        "attention": "whole",
        "channels": 64,
        "offset_channels": 32,
        "condition_norm": True,
        "masks": False,
        "restores": "frame",
        "sees": "frames",
        "modulated": 1,
        "leak": 0.2,
    },
)
DIDNET_TINY_SPEC = replace(
    DIDNET_SPEC,
    name="didnet-tiny",
    title=f"{_TITLE}, half the cost",
    paper=f"{_PAPER} (Tiny)",
    config={"base": "look", "attention": "window", "channels": 32, "offset_channels": 16},
    published=None,
)


class DIDNet(OnBase, RestoringModel):
    """The network. Sizes are multiples of 8; thumbnails show the ConditionNet the whole picture.

    ``base`` as :class:`OnBase` has it; it maps the restored SDR frame. With a base the restoration, too, leaves greys grey and
    changes no code by more than ``RESTORED_BOUND``. ``attention`` as in :class:`WaveletAttention`.

    The paper's form is the configuration ``published``: no base, the restored frame straight from the features
    (eq. 2, ``restores`` is ``frame``, where ours is a ``correction`` of the middle frame), offsets without ``masks`` (eq. 7), a
    ConditionNet that ``sees`` the ``frames`` and not their ``thumbs`` and has instance normalisation (``condition_norm``) and
    HDRTVNet's slope (``leak``), modulated convolutions of ``modulated`` x ``modulated`` taps. For ablations: ``condition`` as
    in :class:`ConditionNet`; ``wavelet`` and ``dual`` (scaling before the convolution, too) may be off.
    """

    def __init__(
        self,
        base: str = "look",
        attention: str = "window",
        channels: int = 48,
        offset_channels: int = 32,
        condition: str = "3d",
        condition_norm: bool = False,
        wavelet: bool = True,
        dual: bool = True,
        masks: bool = True,
        restores: str = "correction",
        sees: str = "thumbs",
        modulated: int = 3,
        leak: float = 0.1,
    ) -> None:
        super().__init__(base)
        if attention not in ("whole", "window") or condition not in ("3d", "2d", "middle"):
            raise ValueError("attention is whole or window, condition 3d, 2d or middle")
        if restores not in ("correction", "frame") or sees not in ("thumbs", "frames"):
            raise ValueError(
                "a network restores a frame or a correction, and sees thumbs or frames"
            )
        if modulated not in (1, 3):
            raise ValueError("modulated convolutions are of 1 or 3 taps")
        self.restores, self.sees = restores, sees
        head = Float32Conv2d if base == "none" else nn.Conv2d
        self.alignment = Alignment(channels, offset_channels, masks=masks)
        self.restore = (nn.Conv2d if restores == "correction" else Float32Conv2d)(
            channels, 3, 3, padding=1
        )
        self.enhance = WaveletAttention(channels, attention) if wavelet else nn.Identity()
        self.condition = ConditionNet(condition, condition_norm, channels, 2, dual, leak)
        self.modulated = nn.ModuleList(ModulatedConv(channels, modulated) for _ in range(2))
        self.conv_last = head(channels, 3, 3, padding=1)
        self.initialise()

    @classmethod
    def form(cls, config: Mapping[str, Any]) -> type[Model]:
        return RepairingDIDNet if config["base"] == "repair" else cls

    @classmethod
    def as_configured(cls, spec: ModelSpec) -> ModelSpec:
        if spec.config["base"] == "repair":
            return RepairingDIDNet.with_first(spec)
        spec = super().as_configured(replace(spec, **_CORRECTS))
        if spec.config.get("sees") != "frames":
            return spec
        thumb = spec.thumb if spec.look else 0
        return replace(spec, thumb=thumb, state_from_thumbs=spec.look > 0, tile=WHOLE)

    def initialise(self) -> None:
        """Nothing moved, half of every tap, and nothing added to the frame or the base.

        Features that start as noise in the result are unlearnt within a few steps, and the network stays there.
        """
        keep_variance(self.own_modules())
        self.alignment.initialise()
        for head in (self.restore, self.conv_last):
            nn.init.zeros_(head.weight)

    def restored(self, frames: Tensor, *, still: bool = False) -> Tensor:
        return self._restored(frames, still)[1]

    def _restored(
        self, frames: Tensor, still: bool = False, qp: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Fused features and the restored middle one of the frames ``B,7,3,H,W``; ``still`` as :class:`Alignment` has it."""
        fused = self.alignment(frames.flatten(1, 2), still)
        # the restoration is in float32: SDR in bfloat16 has an error of half a code value
        middle, added = frames[:, NEIGHBOURS].float(), self.restore(fused).float()
        if self.restores == "frame":
            return fused, added
        if self.base != "none":
            added = bounded(added, middle, scale=SCALE, reach=self.reach, bound=RESTORED_BOUND)
            added = added if self.training else spared(added, SDR_FAINT, qp)
        return fused, middle + added

    def output(self, fused: Tensor, seen: Tensor) -> Tensor:
        """What is added to the base, ``B,3,H,W``, from the fused features and the frames or their thumbnails, ``B,7,3,S,S``."""
        first, second = self.condition(seen)
        x = self.enhance(fused)
        x = x + self.modulated[1](F.relu(self.modulated[0](x, first)), second)
        added: Tensor = self.conv_last(F.relu(x))
        return added

    def render_with_aux(self, window: Window, state: State) -> tuple[Tensor, Tensor, State]:
        count = window.frames.shape[1]
        codes, restored = [], []
        for t in window.inner:
            near = around(t, count)
            look, state = self.scene_look(window, t, state)
            frames = window.frames[:, near]
            fused, sdr = self._restored(frames, qp=window.qp)
            # the base maps the restored frame, so the network adds only light; the auxiliary loss
            # alone trains the restoration
            frame = sdr.detach() + (self.base_frame(window.frames, t) - window.frames[:, t].float())
            thumbs = self.sees == "thumbs"
            added = self.output(
                fused, torch.stack([window.thumb(i) for i in near], dim=1) if thumbs else frames
            )
            codes.append(self.corrected(added, frame.clamp(0.0, 1.0), look, window.qp))
            restored.append(sdr)
        return torch.stack(codes, dim=1), torch.stack(restored, dim=1), state


class RepairingDIDNet(Repairing):
    """The first half of the network, which restores the SDR picture, in front of
    :class:`~sdr2hdr.models.look.network.Look`, which takes the place of the second.

    It may have a first network of ``first_blocks``, which with ``qp`` is told the QP.
    """

    scale = SCALE
    bound = RESTORED_BOUND
    sees = NEIGHBOURS

    def __init__(
        self,
        base: str = "repair",
        channels: int = 48,
        offset_channels: int = 32,
        masks: bool = True,
        first_blocks: int = 0,
        qp: bool = False,
    ) -> None:
        super().__init__()
        if base != "repair":
            raise ValueError("this form's base is repair")
        self.alignment = Alignment(channels, offset_channels, masks=masks)
        self.restore = nn.Conv2d(channels, 3, 3, padding=1)
        self.put_first(first_blocks, qp)
        if first_blocks:  # which knows damage from dark blue
            self.bound = Repairing.bound
        self.initialise()

    def initialise(self) -> None:
        keep_variance((*self.alignment.modules(), self.restore))
        self.alignment.initialise()
        nn.init.zeros_(self.restore.weight)
        super().initialise()

    def restored(self, frames: Tensor, *, still: bool = False) -> Tensor:
        if not still:
            return super().restored(frames)
        begun = self.begun(frames, range(frames.shape[1]), None)
        added = self.restore(self.alignment(begun.flatten(1, 2), still))
        return self.correct(self, frames[:, NEIGHBOURS], begun[:, NEIGHBOURS], added, None)

    def added(self, frames: Tensor, which: range, qp: Tensor | None = None) -> Iterator[Tensor]:
        for t in which:
            near = around(t, frames.shape[1])
            yield self.restore(self.alignment(frames[:, near].flatten(1, 2)))
