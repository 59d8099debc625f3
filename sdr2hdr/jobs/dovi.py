"""The metadata of Dolby Vision 8.1, which the program dovi_tool makes from what the meter found."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from sdr2hdr.color.light import LightFacts, whole
from sdr2hdr.color.transfer import pq_code
from sdr2hdr.errors import OutputError
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.media.dovi import rpus_of

TOOL = "dovi_tool"
_CONTAINERS = ("mkv", "mp4")
_STEPS = 4095  # of a PQ code in Dolby Vision's levels
_DARKEST = 1  # ten-thousandths of a nit: that of Mastering


@dataclass(frozen=True)
class DoviTool:
    """The program that turns levels into the metadata of each picture."""

    path: str

    @classmethod
    def found(cls, container: str) -> Self:
        """The installed program, for a film in a container.

        Raises OutputError if there is none, if it does not work, and for a container without Dolby Vision's record.
        """
        if container not in _CONTAINERS:
            raise OutputError(
                f"{container.upper()} is written without the record of Dolby Vision; name an OUT in .mkv or .mp4"
                " with --dolby-vision."
            )
        path = shutil.which(TOOL)
        if path is None:
            raise OutputError(
                f"--dolby-vision needs the program {TOOL}, which is not installed; get it from"
                " https://github.com/quietvoid/dovi_tool/releases and put it into a folder of PATH."
            )
        tool = cls(path)
        light = LightFacts(max_cll=100.0)
        tool.rpus(levels([0, 1], [light], (1920, 1080), 1000, (1, 1)), 1)
        return tool

    def rpus(self, levels: dict[str, Any], frames: int) -> list[bytes]:
        """The NAL units of a film of so many frames, in display order. Raises OutputError if the program does not make them."""
        with tempfile.TemporaryDirectory(prefix="sdr2hdr-") as name:
            told, made = Path(name, "levels.json"), Path(name, "rpu.bin")
            try:
                told.write_text(json.dumps(levels), "utf-8")
                done = subprocess.run(  # noqa: S603 - a program that the user installed, told paths of our own
                    [self.path, "generate", "-j", str(told), "-o", str(made)],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                )
                if done.returncode:
                    said = done.stderr.decode("utf-8", "replace").split("\n")
                    raise self._failed(next((line for line in said if line.strip()), "no message"))
                found = rpus_of(made.read_bytes())
            except (OSError, ValueError) as error:
                raise self._failed(str(error)) from error
        if len(found) != frames:
            raise self._failed(f"it made metadata for {len(found)} of {frames} pictures")
        return found

    def _failed(self, why: str) -> OutputError:
        return OutputError(
            f"{self.path} did not make the metadata of Dolby Vision ({why.strip()}); install a newer {TOOL},"
            " or leave --dolby-vision out."
        )


def levels_of(plan: Plan, scenes: Sequence[LightFacts]) -> dict[str, Any]:
    """What dovi_tool is told of a film with the light of each scene."""
    edges = [0, *plan.survey.cuts, len(plan.survey.pts)]
    size, peak = (plan.encode.width, plan.encode.height), plan.settings.peak
    return levels(edges, scenes, size, peak, whole(scenes).written(peak))


def levels(
    edges: Sequence[int],
    scenes: Sequence[LightFacts],
    size: tuple[int, int],
    peak: int,
    written: tuple[int, int],
) -> dict[str, Any]:
    """The form that ``dovi_tool generate`` reads: L1 of each scene, L5 and L6 of the film.

    ``edges`` are the first frames of scenes and the number of all frames, ``size`` is width and height, ``peak`` is in nits,
    and ``written`` are MaxCLL and MaxFALL.
    """
    width, height = size
    left, top, right, bottom = whole(scenes).box or (0, 0, width, height)
    return {
        "cm_version": "V40",
        "length": edges[-1],
        "level5": {
            "active_area_left_offset": left,
            "active_area_right_offset": width - right,
            "active_area_top_offset": top,
            "active_area_bottom_offset": height - bottom,
        },
        "level6": {
            "max_display_mastering_luminance": peak,
            "min_display_mastering_luminance": _DARKEST,
            "max_content_light_level": written[0],
            "max_frame_average_light_level": written[1],
        },
        "shots": [
            {
                "start": first,
                "duration": last - first,
                "metadata_blocks": [{"Level1": _level1(light)}],
            }
            for (first, last), light in zip(pairwise(edges), scenes, strict=True)
        ],
    }


def _level1(light: LightFacts) -> dict[str, int]:
    """The darkest, the brightest and the mean of the brightest channel of a scene's pixels, as PQ codes of 12 bits."""
    darkest, mean = light.codes
    return {
        "min_pq": int(_STEPS * darkest),
        "max_pq": round(_STEPS * pq_code(light.max_cll)) if light.max_cll else 0,
        "avg_pq": round(_STEPS * mean),
    }
