"""What tests of several files share."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch
from browser import Browser
from systems import LACKING, needs

with contextlib.suppress(ImportError):
    import numba  # noqa: F401 - before colour-science puts a stand-in for SciPy in its way


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that use what this system does not have."""
    for item in items if LACKING else ():
        if isinstance(item, pytest.Function):
            lacking = needs(item.function) & LACKING
            if lacking:
                item.add_marker(
                    pytest.mark.skip(reason=f"there is no {', '.join(sorted(lacking))}")
                )


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads torch and the kernels may use, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium; a test that asks for it is skipped where there is none, and fails in CI."""
    with Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running
