"""Brightness, highlights, saturation and peak hold for every model with weights of its own or none, corrections included."""

import pytest
import torch

from sdr2hdr.color.exposure import MID_GREY
from sdr2hdr.color.grade import Grade
from sdr2hdr.color.transfer import pq_eotf
from sdr2hdr.models import registry
from sdr2hdr.render.renderer import Renderer
from sdr2hdr.weights.opened import open_model

PATCH = 40
LEVELS = (0.0, 0.5, 0.8, 1.0)
OWN_TABLE = "lut"


def greys_and_colours() -> torch.Tensor:
    """A frame ``1,3,H,W``: grey patches above, saturated colours beneath."""
    greys = torch.tensor(LEVELS).repeat_interleave(PATCH).expand(3, PATCH, -1)
    colours = torch.tensor([[1.0, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 1.0], [1.0, 1.0, 0.2]])
    return torch.cat([greys, colours.T.repeat_interleave(PATCH, 1)[:, None].expand_as(greys)], 1)[
        None
    ]


@pytest.mark.parametrize("name", [n for n in registry.names() if n != OWN_TABLE])
@pytest.mark.parametrize(
    ("grade", "peak"),
    [
        (Grade(brightness=1.5), 1000.0),
        (Grade(brightness=4.0, highlights=2.0, saturation=1.5), 400.0),
    ],
)
def test_every_model_gives_the_brightness_and_holds_the_peak(
    name: str, grade: Grade, peak: float
) -> None:
    loaded = open_model(name)
    frame = greys_and_colours()
    made = Renderer(
        loaded.model, loaded.spec, (2 * PATCH, len(LEVELS) * PATCH), device="cpu", precision="float32",
        grade=grade, peak=peak,
    )  # fmt: skip
    (codes,) = made.window(frame, 0, 0, made.new_states())
    inside = slice(PATCH // 4, 3 * PATCH // 4)
    patches = codes[:, inside].unflatten(-1, (len(LEVELS), PATCH))[..., inside]
    assert (patches.amax(0) - patches.amin(0)).max() * 1023 < 1  # greys are grey
    nits = pq_eotf(patches).mean((0, 1, 3))
    assert nits[0] < 0.005
    assert (nits.diff() > 0).all()
    assert nits[1].item() == pytest.approx((grade.brightness or 0.0) * MID_GREY, rel=0.03)
    assert pq_eotf(codes).max() <= peak * 1.0001
