"""What a model is told of a scene before its first frame."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sdr2hdr.models.layers import thumbnail
from sdr2hdr.models.spec import ModelSpec

EVERY = 8
"""Of so many frames one is read."""


class SceneLooks:
    """The looks of scenes, each the mean over every eighth frame: what a model with a look reader is told before a scene.

    Without it the reader knows the frames so far only, and a scene that fades in changes its mapping while it does. With
    ``film`` half of every scene's look is the mean over the whole film, which tells more of a film that was graded as one.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, *, film: bool = False) -> None:
        self._reader, self._thumb, self.film = getattr(model, "look", None), spec.thumb, film
        self._vectors: dict[int, Tensor] = {}

    def wants(self, number: int) -> bool:
        """Whether frame ``number`` of a film is one to :meth:`see`."""
        return self._reader is not None and number % EVERY == 0

    @torch.inference_mode()
    def see(self, number: int, frame: Tensor) -> None:
        """Read frame ``number``, R'G'B' ``3,H,W``."""
        if self._reader is not None:
            thumbs = thumbnail(frame[None, None], self._thumb)[0].to(next(self._reader.parameters()).device)
            self._vectors[number] = self._reader.vector(thumbs)[0].cpu()

    def of(self, begins: Sequence[int]) -> list[Tensor | None]:
        """The looks (128) of the scenes between neighbouring ``begins``; None where no frame was read."""
        scenes = ([v for n, v in self._vectors.items() if a <= n < b] for a, b in pairwise(begins))
        looks = [torch.stack(vectors).mean(0) if vectors else None for vectors in scenes]
        if not self.film or not self._vectors:
            return looks
        film = torch.stack(list(self._vectors.values())).mean(0)
        return [None if look is None else (look + film) / 2 for look in looks]


def scene_look(model: nn.Module, spec: ModelSpec, frames: Iterable[Tensor], first: int = 0) -> Tensor | None:
    """The look (128) of a scene from its frames ``3,H,W``, of which ``first`` is the first one's number in the film.

    None if the model reads no look, or if the scene has no frame whose number is a multiple of :data:`EVERY`.
    """
    looks, number = SceneLooks(model, spec), first
    for number, frame in enumerate(frames, first):
        if looks.wants(number):
            looks.see(number, frame)
    return looks.of([first, number + 1])[0]
