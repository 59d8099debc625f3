"""How compiled kernels are kept."""

import threading
from pathlib import Path
from typing import Any

import pytest

from sdr2hdr.kernels.compiled import one_at_a_time, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def test_two_processes_that_keep_code_at_once_do_not_take_each_others(tmp_path: Path) -> None:
    """The second reads the list of files before the first has written it, if it may."""
    from numba.core.caching import IndexDataCacheFile

    first: Any = IndexDataCacheFile(str(tmp_path), "kernel", "stamp")
    second: Any = IndexDataCacheFile(str(tmp_path), "kernel", "stamp")
    read, written = threading.Event(), threading.Event()
    load_index, save_data = second._load_index, first._save_data

    def slowly() -> object:
        found = load_index()
        read.set()
        written.wait(1)
        return found

    second._load_index = slowly
    other = threading.Thread(
        target=lambda: one_at_a_time(tmp_path, second.save)("16 bits", "code for 16 bits")
    )

    def last(name: str, data: object) -> None:
        written.set()
        other.join(1)
        save_data(name, data)

    first._save_data = last
    save_index = first._save_index

    def after_it_was_read(overloads: object) -> None:
        other.start()
        read.wait(1)
        save_index(overloads)

    first._save_index = after_it_was_read
    one_at_a_time(tmp_path, first.save)("8 bits", "code for 8 bits")
    other.join()
    third = IndexDataCacheFile(str(tmp_path), "kernel", "stamp")
    for bits in ("8 bits", "16 bits"):
        assert third.load(bits) == f"code for {bits}"
