"""The files that a conversion writes: where they may go, and how they appear, whole and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sdr2hdr.codecs import CONTAINERS
from sdr2hdr.errors import OutputError
from sdr2hdr.options import Options


@dataclass(frozen=True)
class Output:
    """A file to write. ``path`` is the file itself, even if a link was named; ``overwrite`` allows replacing it."""

    path: Path
    container: str
    overwrite: bool

    @classmethod
    def of(cls, source: Path, target: Path, options: Options) -> Self:
        """The HDR10 file. Raises OutputError if it cannot or must not be written."""
        return cls(
            _writable(source, target, options.overwrite),
            _container(target, options.container),
            options.overwrite,
        )

    @classmethod
    def of_aux(cls, source: Path, main: "Output", options: Options) -> Self | None:
        """The file for the restored SDR picture, if one is wanted. Raises OutputError as :meth:`of` does."""
        if options.aux_sdr is None:
            return None
        target = Path(options.aux_sdr)
        container = _container(target, None)
        if target.resolve() == main.path.resolve():
            raise OutputError(f"{target} cannot hold both pictures; give --aux-sdr another name.")
        return cls(_writable(source, target, options.overwrite), container, options.overwrite)

    def appear(self, made: Path) -> None:
        """Rename the finished file to its target name, in one step."""
        if self.path.exists() and not self.overwrite:
            raise OutputError(
                f"{self.path} has appeared in the meantime; run the same command with -y, or with another name."
            )
        try:
            made.replace(self.path)
        except OSError as e:
            raise OutputError(
                f"{self.path} cannot be written ({e.strerror}); choose another name."
            ) from e


def _container(target: Path, container: str | None) -> str:
    container = container or target.suffix.lower().lstrip(".")
    if container not in CONTAINERS:
        raise OutputError(
            f"{target} names no container that can hold the result; end it in .mkv, .mp4 or .mov, or use --container."
        )
    return container


def _writable(source: Path, target: Path, overwrite: bool) -> Path:
    """The file to write: ``target``, or what it links to."""
    try:
        path = target.resolve() if target.is_symlink() else target
        if path.exists() and source.exists() and path.samefile(source):
            raise OutputError(
                f"{target} is the source itself, which is never written; choose another name."
            )
        if path.is_dir():
            raise OutputError(f"{target} is a folder; name the file to write in it.")
        if path.exists() and not path.is_file():
            raise OutputError(f"{target} is a pipe or a device; name a file to write.")
        if path.exists() and not overwrite:
            raise OutputError(f"{target} exists; choose another name, or replace it with -y.")
        if not path.parent.is_dir():
            raise OutputError(f"The folder {path.parent} does not exist; make it first.")
    except (OSError, RuntimeError) as e:  # too long a name, or links in a circle
        raise OutputError(
            f"{target} cannot be written ({getattr(e, 'strerror', e)}); choose another name."
        ) from e
    return path
