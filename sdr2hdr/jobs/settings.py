"""The settings of a plan: the options that decide the picture, with every choice made."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from sdr2hdr.color.grade import Grade
from sdr2hdr.errors import ModelError
from sdr2hdr.jobs.exposures import exposures_for
from sdr2hdr.jobs.looks import Look
from sdr2hdr.models import registry
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.options import Options
from sdr2hdr.render.device import pick_device, pick_precision


@dataclass(frozen=True, kw_only=True)
class Settings(Options):
    """The settings that decide the rendered frames and packets. Equal settings and an equal source give equal chunks.

    Options that do not decide the picture have their defaults. The others are resolved: ``model`` is the
    spec's name, ``device`` and ``precision`` are not ``auto``, ``encoder`` and ``pix_fmt`` are set, and ``crf`` and ``preset``
    as well if the codec has them. A cut list's path is absolute, and ``exposures`` are relative times with commas between them
    (none for ordinary SDR). ``look`` is None or the absolute path of a look file, and the three knobs have the values that it
    or a named look sets. The tile is the plan's. ``weights_sha256`` and ``look_sha256`` are hashes of these files, empty
    without them; ``aux`` says whether the restored SDR picture is written, too. ``chosen`` is the sentence with which
    ``--model auto`` chose the model: it decides nothing, so settings are equal whether the model was chosen or named.
    """

    weights_sha256: str = ""
    look_sha256: str = ""
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
        exposures = exposures_for(options.exposures, spec)
        look = Look.of(options.look)
        grade = look.grade(options, spec, has_times=bool(exposures))
        scenes = options.scenes
        resolved = {
            "model": spec.name,
            "weights": None,
            "device": str(device),
            "precision": pick_precision(options.precision, spec, device),
            "crf": options.quality,
            "preset": options.speed,
            "encoder": options.writer,
            "pix_fmt": options.planes,
            "decoder": "hardware" if options.decoder == "hardware" else "software",
            "scenes": scenes if scenes in ("auto", "none") else str(Path(scenes).absolute()),
            "exposures": ",".join(map(repr, exposures)),
            **asdict(grade),
            "look": None if look.path is None else str(look.path.absolute()),
            "tile": None,
        }
        picture = options.deciding("picture") | resolved
        return cls(
            **picture,
            weights_sha256=weights_sha256,
            look_sha256=look.sha256,
            aux=aux,
            chosen=chosen,
        )

    @property
    def grade(self) -> Grade:
        """What a person decided about the picture."""
        return Grade(self.brightness, self.highlights or 0.0, self.saturation or 1.0)

    @property
    def times(self) -> tuple[float, ...]:
        """The exposures as numbers."""
        return tuple(map(float, self.exposures.split(","))) if self.exposures else ()
