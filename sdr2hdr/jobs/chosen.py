"""The model, its weights and the settings of a conversion, with every choice made."""

from dataclasses import dataclass
from typing import Self

from sdr2hdr.jobs.auto import choose_model
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.jobs.progress import Progress, Watcher
from sdr2hdr.jobs.settings import Settings
from sdr2hdr.media.source import Source
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.options import Options
from sdr2hdr.weights.load import choose
from sdr2hdr.weights.opened import Loaded, open_model, spec_with


@dataclass(frozen=True)
class Chosen:
    """What a film is rendered with. ``options`` name the model; ``weights`` is None if the model's usual weights are taken, and
    ``weights_name`` is a name for people."""

    options: Options
    spec: ModelSpec
    settings: Settings
    weights: str | None
    weights_name: str

    @classmethod
    def of(cls, source: Source, options: Options, begun: Plan | None, progress: Watcher) -> Self:
        """The choices for a film; those of ``begun``, the plan of an earlier run, are kept.

        Raises ModelError, and what :meth:`Settings.of` raises.
        """
        choice = choose_model(options, source.info.size, begun)
        if choice.reason:
            progress(Progress("scan", 0, source.info.frames or 0, note=choice.reason))
        o = options.changed(model=choice.model)
        entry = choose(o.model, o.weights)
        spec = spec_with(o.model, entry)
        settings = Settings.of(o, spec, entry.sha256 if entry else "", choice.reason)
        weights = o.weights or (o.model if o.model != spec.name else None)
        return cls(o, spec, settings, weights, entry.name if entry else "none needed")

    def open(self) -> Loaded:
        """The model with its weights, float32, on the CPU."""
        return open_model(self.spec.name, self.weights)
