"""A camera's response curve out of a MATLAB file, as HDRVideo has it (``BaslerCRF.mat``)."""

import importlib
from pathlib import Path

import torch
from torch import Tensor

from sdr2hdr.errors import InputError

_NAME = "BaslerCRF"


def read_response(path: Path) -> Tensor:
    """The relative light ``3,N`` 0..1 of the codes 0 to N - 1. Raises InputError, also where scipy is not installed."""
    try:
        read = importlib.import_module("scipy.io").loadmat
    except ImportError as e:
        raise InputError(f"Reading {path} takes scipy; install it with pip install scipy.") from e
    try:
        curve = torch.as_tensor(read(path)[_NAME], dtype=torch.float32)
    except Exception as e:
        raise InputError(f"{path} is no camera response ({e}); get the data set again.") from e
    if curve.ndim != 2 or 3 not in curve.shape or not (curve.isfinite().all() and curve.max() > 0):
        raise InputError(f"{path} is no camera response of three channels; get the data set again.")
    rows = curve if curve.shape[0] == 3 else curve.T
    return (rows / rows.max()).contiguous()
