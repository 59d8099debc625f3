"""Initialisations by name.

``own`` is the network's own. ``torch`` is PyTorch's: uniform, within ``1 / sqrt(fan in)``. ``msra`` is He's normal one for ReLU
(fan in) with zero biases, for all convolutions and linear layers; ``msra/10`` is a tenth of it for 2-D convolutions and linear
layers, and PyTorch's for others, as WMNet's published code has it. ``xavier`` is Glorot's normal one with zero biases.
"""

from torch import nn

from sdr2hdr.models.model import Model
from sdr2hdr.training.recipe import Initial

_FLAT = (nn.Conv1d, nn.Conv2d, nn.Linear)
_ALL = (*_FLAT, nn.Conv3d, nn.ConvTranspose2d)


def initialise(net: Model, name: Initial) -> None:
    """Initialise a new network in place; a look reader stays as it is."""
    if name == "own":
        net.initialise()
        return
    kinds = {"torch": (), "msra/10": _FLAT}.get(name, _ALL)
    for m in net.own_modules():
        if callable(reset := getattr(m, "reset_parameters", None)):
            reset()  # many constructors begin with the network's own
        if not isinstance(m, kinds):
            continue
        if name == "xavier":
            nn.init.xavier_normal_(m.weight)
        else:
            nn.init.kaiming_normal_(m.weight)
            m.weight.data.mul_(0.1 if name == "msra/10" else 1.0)
        if m.bias is not None:
            nn.init.zeros_(m.bias)
