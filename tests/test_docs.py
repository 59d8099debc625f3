"""The manual's links lead somewhere, and its model cards stay short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("lab/**/*.md")])
LINK = re.compile(r"\]\(([^)\s#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files_of_the_project(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            found = (page.parent / target).resolve()
            assert found.exists(), f"{page.name} links to {target}"
            assert found.is_relative_to(ROOT), f"{page.name} links out of the project: {target}"


@pytest.mark.parametrize("card", sorted((ROOT / "docs/models").glob("*.md")), ids=lambda p: p.name)
def test_a_model_card_fits_on_a_page(card: Path) -> None:
    assert len(card.read_text(encoding="utf-8").splitlines()) <= 80
