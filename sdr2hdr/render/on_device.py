"""The frame loop on a GPU: planes go up, planes and their light come down, and nothing in between waits for the host."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from sdr2hdr.color.deband import debanded
from sdr2hdr.color.light import FrameLight
from sdr2hdr.color.yuv import from_yuv
from sdr2hdr.models.spec import State
from sdr2hdr.render.coded import Coded
from sdr2hdr.render.renderer import Run, windows
from sdr2hdr.render.stream import Finished, Stream
from sdr2hdr.render.transfer import Downloads, Uploads


class DeviceStream(Stream):
    """A stream whose pictures are read, mapped, packed and metered on the renderer's device, by the formulas of ``color``.

    A picture in 4:2:0 takes 3 bytes a pixel down the bus, and as many up as its file has. The light of a frame stays on the
    device: the meter adds it up there and is asked once a chunk.
    """

    @cached_property
    def _up(self) -> Uploads:
        return Uploads(self.renderer.device)

    @torch.inference_mode()
    def run(
        self,
        pictures: Iterator[Coded],
        run: Run,
        states: list[State],
        pts: Sequence[int],
        *,
        settled: bool,
    ) -> Iterator[Finished]:
        down: Downloads[FrameLight] = Downloads(self.renderer.device)
        number = run.first
        for window, past, future in windows(map(self.rgb, pictures), run, self.renderer.spec):
            first = number - past
            found, finite = self.renderer.window_there(
                window, past, future, states, first=first, qp=run.qp
            )
            for codes in found:
                made = self.finished(codes, pts[number])
                restored = made.restored or ()
                sent = down.put((finite, *made.planes, *restored), made.light)
                yield from map(self._delivered, sent)
                number += 1
        yield from map(self._delivered, down.rest())

    def _delivered(self, sent: tuple[tuple[Tensor, ...], FrameLight]) -> Finished:
        (finite, y, cb, cr, *restored), light = sent
        self.renderer.check(finite.is_meta or bool(finite))
        aux = (restored[0], restored[1], restored[2]) if restored else None
        return Finished((y, cb, cr), light, aux)

    def rgb(self, picture: Coded) -> Tensor:
        planes = self._up(picture.planes)
        if picture.deband != "off":
            planes = debanded(planes, picture.layout, picture.deband)
        rgb = from_yuv(planes, picture.layout)
        return picture.turn(picture.recoded(rgb))
