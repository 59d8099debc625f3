"""The light of the display that an SDR picture was made for, and the same light as models know it.

Sources: BT.1886 annex 1, IEC 61966-2-1 (sRGB), H.273 table 3 (gamma 2.2 and 2.8, linear), SMPTE ST 428-1 (gamma 2.6); BT.2087-0
for the order in which primaries are converted.
"""

from dataclasses import dataclass

from torch import Tensor

from sdr2hdr.color.primaries import convert
from sdr2hdr.color.transfer import bt1886_eotf, bt1886_inverse_eotf, srgb_eotf

POWERS = {"bt1886": 2.4, "gamma22": 2.2, "gamma26": 2.6, "gamma28": 2.8, "linear": 1.0}


def light(codes: Tensor, transfer: str) -> Tensor:
    """Display light 0..1 of SDR codes, by one of :data:`sdr2hdr.color.names.TRANSFERS`; codes below 0 give no light."""
    if transfer == "srgb":
        return srgb_eotf(codes)
    return (
        bt1886_eotf(codes)
        if transfer == "bt1886"
        else codes.float().clamp_min(0.0).pow(POWERS[transfer])
    )


@dataclass(frozen=True)
class Display:
    """The display that an SDR picture was made for, by names of :mod:`sdr2hdr.color.names`."""

    transfer: str = "bt1886"
    primaries: str = "bt709"

    def as_bt709(self, codes: Tensor) -> Tensor:
        """SDR codes ``...,3,H,W`` as BT.709 R'G'B' 0..1 for a BT.1886 display that shows the same light, clipped to that gamut.

        Codes of the usual display come back as they are.
        """
        if self == USUAL:
            return codes
        shown = light(codes, self.transfer)
        if self.primaries != "bt709":
            shown = convert(shown, self.primaries, "bt709")
        return bt1886_inverse_eotf(shown.clamp(0.0, 1.0))


USUAL = Display()
"""BT.709 on a BT.1886 display, which models work on."""
