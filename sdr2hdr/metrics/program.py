"""HDR-VDP by programs of the user's: HDR-VDP-2 and 3 run in MATLAB or Octave, which are not part of this package.

The environment variable ``SDR2HDR_HDRVDP`` names a program for HDR-VDP-3, and ``SDR2HDR_HDRVDP2`` one for HDR-VDP-2. For each
frame it is called with three arguments: the result and the truth, PPM pictures (16 bits) of PQ codes in BT.2020, of which 65535
is 10,000 nits, and the pixels per degree. It prints the quality Q as the last word of its output and ends with 0.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from torch import Tensor

from sdr2hdr.errors import InputError
from sdr2hdr.metrics.library import AbsentError, Full

VARIABLES = {"hdr_vdp": ("SDR2HDR_HDRVDP", 50), "hdr_vdp_2": ("SDR2HDR_HDRVDP2", 30)}
"""By measure: the variable that names the program, and the pixels per degree of the papers that have the measure (WMNet's
section IV-A; HDR-V-Diff's section 4)."""

_SECONDS = 1800


def hdr_vdp(key: str = "hdr_vdp") -> Full:
    """Q of a pair of frames by the user's program for the measure ``key``. Raises AbsentError if none is named, and InputError
    if it fails."""
    variable, pixels_per_degree = VARIABLES[key]
    name = os.environ.get(variable, "")
    program = shutil.which(name) if name else None
    if not name:
        raise AbsentError(f"{variable} names no program; docs/measuring.md says what it must do")
    if program is None:
        raise AbsentError(f"{variable} names {name}, which is no program here")

    def measure(result: Tensor, truth: Tensor) -> float:
        with tempfile.TemporaryDirectory(prefix="sdr2hdr-") as folder:
            files = [Path(folder) / f"{side}.ppm" for side in ("result", "truth")]
            for path, codes in zip(files, (result, truth), strict=True):
                path.write_bytes(_ppm(codes))
            return _run([program, *map(str, files), str(pixels_per_degree)], variable)

    return measure


def _ppm(codes: Tensor) -> bytes:
    samples = (codes * 65535.0).round().permute(1, 2, 0).cpu().numpy().astype(">u2")
    height, width, _ = samples.shape
    return b"P6 %d %d 65535\n" % (width, height) + bytes(samples.tobytes())


def _run(command: list[str], variable: str) -> float:
    try:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return float(done.stdout.split()[-1])
    except (OSError, subprocess.SubprocessError) as e:
        raise InputError(f"{command[0]} failed as {variable} ({e}); run it by hand.") from e
    except (ValueError, IndexError) as e:
        raise InputError(
            f"{command[0]} ({variable}) did not end its output with a number; docs/measuring.md says what it must do."
        ) from e
