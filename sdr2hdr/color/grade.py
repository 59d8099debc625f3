"""What a person decides about a picture: how bright its mid-grey is, how far its highlights rise, how saturated it is.

The three do the same for every model. They follow from what the model makes of a grey ramp, act on the brightest channel, and
so leave greys grey, black black and hues as they are.
"""

from dataclasses import dataclass

BRIGHTNESS = 2.5
"""The brightness where nothing else is asked for: an SDR television set to 250 nits."""

BRIGHTNESSES, HIGHLIGHTS, SATURATIONS = (0.5, 8.0), (0.0, 2.0), (0.5, 1.5)
"""What the three can be."""


@dataclass(frozen=True)
class Grade:
    """``brightness`` is that of :mod:`sdr2hdr.color.exposure`; None leaves the model its own.

    ``highlights`` is the power of the gain over linear light above SDR code 0.5: 0 is linear, 1 what the model gives.
    ``saturation`` multiplies the distance from grey; 1 is what the model gives.
    """

    brightness: float | None = None
    highlights: float = 1.0
    saturation: float = 1.0

    @property
    def words(self) -> str:
        """The grade for people."""
        own = "the model's own" if self.brightness is None else f"{self.brightness:g}"
        return f"brightness {own}, highlights {self.highlights:g}, saturation {self.saturation:g}"

    @property
    def needs_greys(self) -> bool:
        """Whether this can only be done for a model whose mapping of greys is known."""
        return self.brightness is not None or self.highlights != 1.0


AS_MODEL = Grade()
"""Nothing decided: what the model gives."""
