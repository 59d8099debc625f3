"""What tests of several files share."""

from collections.abc import Iterator

import pytest
from browser import Browser

from sdr2hdr.kernels import compiled

compiled.why_not()  # loads numba before colour-science puts a stand-in for SciPy in its way


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium; a test that asks for it is skipped where there is none, and fails in CI."""
    with Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running
