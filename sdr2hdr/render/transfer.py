"""Planes to a GPU and back: through pinned memory, on streams of their own, while the GPU computes."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Tensors = tuple[Tensor, ...]

_CUDA: Any = torch.cuda  # whose classes have no types

DEPTH = 4
"""Copies in each direction that may be on their way at once."""


class Uploads:
    """Copies tensors of the CPU to a device. What is computed after that waits for the copy; the caller does not.

    A device other than a CUDA GPU has no streams: it is copied to as usual.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._cuda = device.type == "cuda"
        self._stream = _CUDA.Stream(device) if self._cuda else None
        self._pinned: deque[tuple[list[Tensor], torch.cuda.Event]] = deque()

    def __call__(self, tensors: Tensors) -> Tensors:
        if self._stream is None:
            return tuple(t.to(self.device) for t in tensors)
        room = self._room(tensors)
        for pinned, tensor in zip(room, tensors, strict=True):
            pinned.copy_(tensor)
        with torch.cuda.stream(self._stream):
            there = tuple(p.to(self.device, non_blocking=True) for p in room)
            copied = _CUDA.Event(blocking=True)
            copied.record(self._stream)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_event(copied)
        for t in there:
            t.record_stream(computing)
        self._pinned.append((room, copied))
        return there

    def _room(self, tensors: Tensors) -> list[Tensor]:
        """Pinned memory of these shapes: that of the oldest copy once there are enough, which was over long ago."""
        if len(self._pinned) >= DEPTH:
            room, copied = self._pinned.popleft()
            copied.synchronize()
            if [(r.shape, r.dtype) for r in room] == [(t.shape, t.dtype) for t in tensors]:
                return room
        return [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in tensors]


@dataclass(frozen=True)
class _Coming(Generic[T]):
    tensors: Tensors
    copied: "torch.cuda.Event | None"
    what: T


class Downloads(Generic[T]):
    """Copies tensors of a device to the CPU, and gives them back in order when they are there, some later than they were put.

    Each result has memory of its own, because an encoder may hold it for long.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = _CUDA.Stream(device) if device.type == "cuda" else None
        self._device = device
        self._coming: deque[_Coming[T]] = deque()

    def put(self, tensors: Tensors, what: T) -> Iterator[tuple[Tensors, T]]:
        """Send for tensors; ``what`` comes back with them. Yields the pairs that are due."""
        if self._stream is None:
            meta = self._device.type == "meta"  # which has nothing to copy
            yield tensors if meta else tuple(t.cpu() for t in tensors), what
            return
        ready = _CUDA.Event(blocking=True)
        ready.record(torch.cuda.current_stream(self._device))
        self._stream.wait_event(ready)
        with torch.cuda.stream(self._stream):
            pinned = tuple(torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in tensors)
            for here, there in zip(pinned, tensors, strict=True):
                here.copy_(there, non_blocking=True)
                there.record_stream(self._stream)
            copied = _CUDA.Event(blocking=True)
            copied.record(self._stream)
        self._coming.append(_Coming(pinned, copied, what))
        while len(self._coming) > DEPTH:
            yield self._next()

    def rest(self) -> Iterator[tuple[Tensors, T]]:
        """What is still on its way."""
        while self._coming:
            yield self._next()

    def _next(self) -> tuple[Tensors, T]:
        first = self._coming.popleft()
        if first.copied is not None:
            first.copied.synchronize()
        return first.tensors, first.what
