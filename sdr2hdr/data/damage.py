"""What a codec does to the SDR of training clips."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sdr2hdr.media.transcode import through_codec

QPS = tuple(range(18, 48))
"""The QPs of training clips, unless a recipe says otherwise."""

Planes = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Damage:
    """Which clips go through which codec.

    ``undamaged`` is the share of clips that go through none (None: as the corpus has it, a quarter of paired frames and
    no others). The QP is drawn evenly from ``qps``, and the codec from libx264 (60 %) and libx265, unless ``codec`` names
    one. With ``intra`` every picture is coded alone. Otherwise a clip begins with the first picture of a GOP, or after up to
    ``lead`` other pictures, drawn evenly: the clip itself, mirrored in time.
    """

    undamaged: float | None = None
    qps: tuple[int, ...] = QPS
    codec: str = ""
    intra: bool = False
    lead: int = 0

    def qp(self, rng: np.random.Generator, usual: float = 0.0) -> int:
        """A QP, drawn; 0 for a clip that goes through no codec. ``usual`` is the corpus's share of them."""
        qp = self.qps[int(rng.integers(len(self.qps)))]
        share = usual if self.undamaged is None else self.undamaged
        return 0 if share and rng.random() < share else qp

    def through(self, planes: Planes, qp: int, codec: str, rng: np.random.Generator) -> Planes:
        """8-bit 4:2:0 planes after ``codec``, or after the one that is always taken; as they are at a QP of 0."""
        if not qp:
            return planes
        lead = int(rng.integers(self.lead + 1)) if self.lead else 0
        return through_codec(planes, self.codec or codec, qp, intra=self.intra, lead=lead)


USUAL_DAMAGE = Damage()
