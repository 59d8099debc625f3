"""What every benchmark's command line has."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples" / "tears_of_steel.webm"
"""A short film that comes with the project."""


def parser(doc: str | None) -> ArgumentParser:
    """A parser whose help is a module's docstring, as it stands there."""
    return ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
