"""The settings of a plan: the options that decide the picture, with every choice made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sdr2hdr.errors import ModelError
from sdr2hdr.jobs.exposures import exposures_for
from sdr2hdr.models import registry
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.options import Options
from sdr2hdr.render.device import pick_device, pick_precision


@dataclass(frozen=True, kw_only=True)
class Settings(Options):
    """The settings that decide the rendered frames and packets. Equal settings and an equal source give equal chunks.

    Options that do not decide the picture have their defaults. The others are resolved: ``model`` is the spec's name,
    ``device`` and ``precision`` are not ``auto``, ``encoder``, ``crf`` and ``preset`` are set, a cut list's path is
    absolute, and ``exposures`` are relative times with commas between them (none for ordinary SDR). The tile is the plan's.
    ``weights_sha256`` is the hash of the weight file, empty for static mappings; ``aux`` says whether the restored SDR
    picture is written, too. ``chosen`` is the sentence with which ``--model auto`` chose the model: it decides nothing, so
    settings are equal whether the model was chosen or named.
    """

    weights_sha256: str = ""
    aux: bool = False
    chosen: str = field(default="", compare=False)

    @classmethod
    def of(cls, options: Options, spec: ModelSpec, weights_sha256: str, chosen: str = "") -> Self:
        """The settings that result from the options, the model and its weight on this machine.

        Raises ModelError if a device or a precision is not available, or if the model cannot restore the SDR picture that
        was asked for, and InputError if the exposures cannot be read.
        """
        aux = options.aux_sdr is not None
        if aux and not spec.has_aux:
            able = ", ".join(name for name in registry.names() if registry.spec(name).has_aux)
            raise ModelError(
                f"Model {spec.name} restores no SDR picture; leave --aux-sdr out, or use one that does: {able}."
            )
        device = pick_device(options.device)
        scenes = options.scenes
        resolved = {
            "model": spec.name,
            "weights": None,
            "device": str(device),
            "precision": pick_precision(options.precision, spec, device),
            "crf": options.quality,
            "preset": options.speed,
            "encoder": options.writer,
            "decoder": "hardware" if options.decoder == "hardware" else "software",
            "scenes": scenes if scenes in ("auto", "none") else str(Path(scenes).absolute()),
            "exposures": ",".join(map(repr, exposures_for(options.exposures, spec))),
            "tile": None,
        }
        picture = options.deciding("picture") | resolved
        return cls(**picture, weights_sha256=weights_sha256, aux=aux, chosen=chosen)

    @property
    def times(self) -> tuple[float, ...]:
        """The exposures as numbers."""
        return tuple(map(float, self.exposures.split(","))) if self.exposures else ()
