"""Measures from libraries: piq, LPIPS and ColorVideoVDP. Each loads on demand, or is reported as absent."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

Full = Callable[[Tensor, Tensor], float]
"""One number from a result and a truth, ``3,H,W`` of codes 0..1 clamped."""


class AbsentError(Exception):
    """A measure is not available; the message says why, and how to get it."""


_PIQ = {
    "ms_ssim": ("piq.ms_ssim", "multi_scale_ssim"),
    "sr_sim": ("piq.srsim", "srsim"),
    "vsi": ("piq.vsi", "vsi"),
    "vifp": ("piq.vif", "vif_p"),
    "haarpsi": ("piq.haarpsi", "haarpsi"),
}


_MS_SSIM_LEAST = 161
_LEAST = 48  # VIFp's fourth scale, and the wavelets of SR-SIM and VSI


@cache
def _piq() -> dict[str, Any]:
    """piq's functions by our keys.

    The package's own ``__init__`` imports torchvision, for networks that none of these measures use, and torchvision does
    not load with every build of torch. So only the modules of the measures are imported.
    """
    spec = importlib.util.find_spec("piq")
    if spec is None:
        raise AbsentError("piq is not installed: pip install 'sdr2hdr[metrics]'")
    known = sys.modules.get("piq")
    sys.modules["piq"] = known or importlib.util.module_from_spec(spec)
    try:
        return {
            key: getattr(importlib.import_module(module), name)
            for key, (module, name) in _PIQ.items()
        }
    except (ImportError, AttributeError) as e:
        raise AbsentError(
            f"this version of piq cannot be used ({e}): pip install 'sdr2hdr[metrics]'"
        ) from e
    finally:
        if known is None:  # whoever imports piq after us gets the whole package
            del sys.modules["piq"]


def from_piq(key: str) -> Full:
    """A measure of piq: ``ms_ssim``, ``sr_sim``, ``vsi``, ``vifp`` or ``haarpsi``, with piq's defaults. Raises AbsentError.

    Five scales of MS-SSIM need 161 pixels each way: a picture that lacks up to 16 of them is extended by repeating its border,
    and smaller ones give NaN, as do those too small for another measure.
    """
    function = _piq()[key]

    def measure(result: Tensor, truth: Tensor) -> float:
        pair = torch.stack([result, truth])
        lacks = [max(0, _MS_SSIM_LEAST - n) for n in pair.shape[-2:]]
        if key == "ms_ssim" and max(lacks):
            if max(lacks) > 16:
                return float("nan")
            pair = pad(pair, (0, lacks[1], 0, lacks[0]), mode="replicate")
        if min(pair.shape[-2:]) < _LEAST:
            return float("nan")
        return float(function(pair[:1], pair[1:], data_range=1.0))

    return measure


_ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's AlexNet_Weights.IMAGENET1K_V1
_GET_ALEXNET = "python -c \"import torchvision; torchvision.models.alexnet(weights='DEFAULT')\""


def lpips() -> Full:
    """LPIPS (AlexNet, version 0.1) of the PQ codes as they are, spread to -1..1. Raises AbsentError."""
    try:
        module = importlib.import_module("lpips")
        if not (
            Path(torch.hub.get_dir()) / "checkpoints" / _ALEXNET
        ).exists():  # or it would be downloaded unasked
            raise AbsentError(f"its network {_ALEXNET} is not in torch's cache: {_GET_ALEXNET}")
        network = module.LPIPS(net="alex", verbose=False).eval()
    except ImportError as e:
        raise AbsentError(f"lpips is not installed ({e}): pip install lpips") from e
    except (
        RuntimeError,
        OSError,
    ) as e:  # torchvision for another build of torch; weights that cannot be downloaded
        raise AbsentError(f"lpips does not run here ({_first_line(e)})") from e

    def measure(result: Tensor, truth: Tensor) -> float:
        with torch.inference_mode():
            return float(network(result[None] * 2 - 1, truth[None] * 2 - 1))

    return measure


_MUSIQ = "musiq_koniq"
_GET_MUSIQ = "python -c \"import pyiqa; pyiqa.create_metric('musiq')\""


def musiq() -> Callable[[Tensor], float]:
    """MUSIQ (KonIQ-10k) of one picture ``3,H,W`` of R'G'B' 0..1, by pyiqa: 0 to 100, higher is better. Raises AbsentError."""
    try:
        module = importlib.import_module("pyiqa")
        cache = Path(torch.hub.get_dir()) / "pyiqa"
        if not any(cache.glob(f"{_MUSIQ}*")):  # or it would be downloaded unasked
            raise AbsentError(f"its network {_MUSIQ} is not in torch's cache: {_GET_MUSIQ}")
        network = module.create_metric("musiq", device="cpu")
    except ImportError as e:
        raise AbsentError(f"pyiqa is not installed ({e}): pip install pyiqa") from e
    except (RuntimeError, OSError) as e:
        raise AbsentError(f"MUSIQ does not run here ({_first_line(e)})") from e

    def measure(picture: Tensor) -> float:
        with torch.inference_mode():
            return float(network(picture[None]))

    return measure


_RAFT = "raft_large_C_T_SKHT_V2-ff5fadd5.pth"  # torchvision's Raft_Large_Weights.C_T_SKHT_V2
_GET_RAFT = "python -c \"from torchvision.models.optical_flow import raft_large; raft_large(weights='C_T_SKHT_V2')\""
_RAFT_LEAST = 128


def raft() -> Callable[[Tensor, Tensor], Tensor]:
    """The optical flow ``2,H,W`` of RAFT (torchvision's large one) between two frames ``3,H,W`` of codes 0..1.

    Frames are extended by their border to multiples of eight pixels, at least 128. Raises AbsentError.
    """
    try:
        module = importlib.import_module("torchvision.models.optical_flow")
        if not (Path(torch.hub.get_dir()) / "checkpoints" / _RAFT).exists():
            raise AbsentError(f"its network {_RAFT} is not in torch's cache: {_GET_RAFT}")
        network = module.raft_large(weights="C_T_SKHT_V2", progress=False).eval()
    except ImportError as e:
        raise AbsentError(f"torchvision is not installed ({e}): pip install torchvision") from e
    except (RuntimeError, OSError) as e:
        raise AbsentError(f"RAFT does not run here ({_first_line(e)})") from e

    def find(here: Tensor, there: Tensor) -> Tensor:
        height, width = here.shape[-2:]
        down, across = (max(-(-n // 8) * 8, _RAFT_LEAST) - n for n in (height, width))
        pair = torch.stack([here, there]).float() * 2 - 1
        pair = pad(pair, (0, across, 0, down), mode="replicate")
        with torch.inference_mode():
            way: Tensor = network(pair[:1], pair[1:])[-1]
        return way[0, :, :height, :width]

    return find


DISPLAY = "standard_hdr_pq"


def cvvdp() -> Callable[[Tensor, Tensor, float], float]:
    """ColorVideoVDP in JOD (10 is no difference) of frames ``T,3,H,W`` at a rate, on its display "standard_hdr_pq".

    Raises AbsentError.
    """
    try:
        module = importlib.import_module("pycvvdp")
        metric = module.cvvdp(display_name=DISPLAY, quiet=True)
    except ImportError as e:
        raise AbsentError(f"ColorVideoVDP is not installed ({e}): pip install cvvdp") from e
    except (RuntimeError, OSError) as e:
        raise AbsentError(f"ColorVideoVDP does not run here ({_first_line(e)})") from e

    def measure(result: Tensor, truth: Tensor, rate: float) -> float:
        with torch.inference_mode():
            jod, _ = metric.predict(
                result, truth, dim_order="FCHW", frames_per_second=rate if len(result) > 1 else 0
            )
        return float(jod)

    return measure


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
