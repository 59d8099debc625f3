"""The look of a scene, read before its first frame is rendered."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from sdr2hdr.color.grade import AS_MODEL, Grade
from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.models.model import Model
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.render.coded import Coded, thumbnail_of
from sdr2hdr.render.renderer import told_brightness

EVERY = 8
"""One frame in this many is read."""


class SceneLooks:
    """The looks of scenes, each the mean over every eighth frame, which a model that reads looks is given before a scene.

    Without it the model would know only the frames so far, and its mapping would change while a scene fades in. With ``film``
    half of every scene's look is the mean over the whole film, which is steadier for a film that was graded as one.
    """

    def __init__(
        self, model: Model, spec: ModelSpec, grade: Grade = AS_MODEL, *, film: bool = False
    ) -> None:
        self._model, self._spec, self.film = model, spec, film
        self._brightness = torch.tensor([told_brightness(grade)])
        self._vectors: dict[int, Tensor] = {}

    def wants(self, number: int) -> bool:
        """Whether frame ``number`` of a film is one to :meth:`see`."""
        return self._spec.look > 0 and number % EVERY == 0

    @torch.inference_mode()
    def see(self, number: int, frame: Tensor) -> None:
        """Read frame ``number``, R'G'B' ``3,H,W``; only of a model that reads looks."""
        self._read(number, thumbnail(frame[None, None], self._spec.thumb)[0, 0])

    @torch.inference_mode()
    def see_coded(self, number: int, picture: Coded) -> None:
        """:meth:`see` of a picture as its file stores it."""
        self._read(number, thumbnail_of(picture, self._spec.thumb))

    def _read(self, number: int, thumb: Tensor) -> None:
        device = next(self._model.parameters()).device
        look = self._model.read_look(thumb[None].to(device), self._brightness.to(device))
        self._vectors[number] = look[0].cpu()

    def of(self, begins: Sequence[int]) -> list[Tensor | None]:
        """The looks (V) of the scenes between neighbouring ``begins``; None where no frame was read."""
        scenes = ([v for n, v in self._vectors.items() if a <= n < b] for a, b in pairwise(begins))
        looks = [torch.stack(vectors).mean(0) if vectors else None for vectors in scenes]
        return self.drawn(looks) if self.film else looks

    def drawn(self, looks: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The looks (V) of scenes, drawn halfway to that of all frames that were read."""
        film = self.whole
        return [look if look is None or film is None else (look + film) / 2 for look in looks]

    @property
    def whole(self) -> Tensor | None:
        """The look (V) of all frames that were read; None if there were none."""
        return torch.stack(list(self._vectors.values())).mean(0) if self._vectors else None


def scene_look(
    model: Model,
    spec: ModelSpec,
    frames: Iterable[Tensor],
    first: int = 0,
    grade: Grade = AS_MODEL,
) -> Tensor | None:
    """The look (V) of a scene from its frames ``3,H,W``, of which ``first`` is the first one's number in the film.

    None if the model reads no look, or if the scene has no frame whose number is a multiple of :data:`EVERY`.
    """
    looks, number = SceneLooks(model, spec, grade), first
    for number, frame in enumerate(frames, first):
        if looks.wants(number):
            looks.see(number, frame)
    return looks.of([first, number + 1])[0]
