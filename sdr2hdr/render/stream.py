"""The frame loop: pictures as their file stores them into planes and their light, run by run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from sdr2hdr.color.hlg import hlg_of_pq, shown
from sdr2hdr.color.light import FrameLight
from sdr2hdr.color.transfer import pq_code
from sdr2hdr.color.yuv import HDR10, YuvLayout, brightest, highest, to_yuv
from sdr2hdr.kernels.compiled import why_not
from sdr2hdr.models.spec import State
from sdr2hdr.render.coded import Coded
from sdr2hdr.render.renderer import Renderer, Run

Planes = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Finished:
    """A frame to encode: uint16 ``planes`` as :func:`sdr2hdr.color.yuv.to_yuv` leaves them, and their light.

    ``restored`` is the restored SDR picture in BT.709, of a renderer with ``aux``.
    """

    planes: Planes
    light: FrameLight
    restored: Planes | None = None


class Stream:
    """Renders runs of pictures with one renderer into planes of a layout (:data:`~sdr2hdr.color.yuv.PIXEL_FORMATS`), in torch.

    ``channels``: the light of frames tells the highest R', G' and B', too. ``hlg``: the planes are in HLG, not in PQ, graded for
    a display of the renderer's peak.
    """

    def __init__(
        self,
        renderer: Renderer,
        layout: YuvLayout = HDR10,
        *,
        channels: bool = False,
        hlg: bool = False,
    ) -> None:
        self.renderer, self.layout, self.channels, self.hlg = renderer, layout, channels, hlg
        self._sdr = layout if layout.matrix == "rgb" else replace(layout, matrix="bt709")
        self.peak_code = 1.0 if hlg else pq_code(renderer.peak)

    def run(
        self,
        pictures: Iterator[Coded],
        run: Run,
        states: list[State],
        pts: Sequence[int],
        *,
        settled: bool,
    ) -> Iterator[Finished]:
        """The frames of a run from the pictures that it needs (:meth:`Run.needs`); ``states`` are moved on in place.

        ``pts`` are those of the whole film and seed the noise. ``settled``: what the model remembers will not change in this
        scene, because its look is known or because it reads none.
        """
        frames = (self.rgb(picture) for picture in pictures)
        for number, codes in enumerate(self.renderer.run(frames, run, states), run.first):
            yield self.finished(codes, pts[number])

    def rgb(self, picture: Coded) -> Tensor:
        """What the model sees of a picture."""
        return picture.rgb()

    def finished(self, codes: Tensor, seed: int) -> Finished:
        """The frame of codes ``3,H,W``, or with a restored picture ``6,H,W``."""
        planes = self.packed(self.coded(codes[:3]), seed, self.peak_code, self.layout)
        light = self.light(planes)
        restored = self.packed(codes[3:], seed, 1.0, self._sdr) if len(codes) > 3 else None
        return Finished(planes, light, restored)

    def coded(self, codes: Tensor) -> Tensor:
        """PQ codes ``3,H,W`` in the transfer that is written."""
        return hlg_of_pq(codes, self.renderer.peak) if self.hlg else codes

    def packed(self, codes: Tensor, seed: int, peak_code: float, layout: YuvLayout) -> Planes:
        """Planes of codes ``3,H,W``."""
        return to_yuv(codes, seed=seed, peak_code=peak_code, layout=layout)

    def light(self, planes: Planes) -> FrameLight:
        """The light of finished planes."""
        if self.hlg:
            return FrameLight.of(shown(planes, self.layout, self.renderer.peak))
        channels = highest(planes, self.layout) if self.channels else None
        return FrameLight.of(brightest(planes, self.layout).clamp_(0.0, 1.0), channels)


def open_stream(
    renderer: Renderer, layout: YuvLayout = HDR10, *, channels: bool = False, hlg: bool = False
) -> Stream:
    """The fastest stream that there is here for a renderer: on a GPU, or compiled on a CPU, if kernels can be used."""
    if renderer.device.type == "cuda":
        from sdr2hdr.render.on_device import DeviceStream

        return DeviceStream(renderer, layout, channels=channels, hlg=hlg)
    if why_not() is None:
        from sdr2hdr.render.compiled import CompiledStream

        return CompiledStream(renderer, layout, channels=channels, hlg=hlg)
    return Stream(renderer, layout, channels=channels, hlg=hlg)
