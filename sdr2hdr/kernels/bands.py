"""Rows shared out to threads."""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="kernel")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        after_in_child=_pool.cache_clear
    )  # the child has none of its parent's threads


def in_bands(rows: int, work: Callable[[int, int], T]) -> list[T]:
    """``work(first, last)`` on bands that make up ``rows``, as many as torch may use threads; the results from top to bottom.

    Where rows are cut must not change what ``work`` writes.
    """
    count = max(1, min(torch.get_num_threads(), rows))
    ends = [rows * i // count for i in range(count + 1)]
    if count == 1:
        return [work(0, rows)]
    others = [_pool().submit(work, a, b) for a, b in itertools.pairwise(ends[1:])]
    return [work(0, ends[1]), *(future.result() for future in others)]
