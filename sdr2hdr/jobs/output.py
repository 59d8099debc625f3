"""The files that a conversion writes: where they may go, and how they appear, whole and checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sdr2hdr.codecs import CODECS, CONTAINERS, FOLDER, container_refusal
from sdr2hdr.errors import OutputError
from sdr2hdr.media.inputs import PICTURES
from sdr2hdr.media.pictures import foreign
from sdr2hdr.options import Options
from sdr2hdr.writing import write_whole

REPLACED = "replaced.part"
"""Where a folder of pictures lies, in the work folder, from when it is replaced until the work folder is removed."""

STILLS = (".avif", ".jpg", ".jpeg")
"""Endings of still pictures."""


def is_still(target: Path, options: Options) -> bool:
    """Whether the file to write is that of a still picture, by its ending."""
    films = options.container is not None or CODECS[options.codec].ending
    return not films and target.suffix.lower() in STILLS


@dataclass(frozen=True)
class Output:
    """A file to write, or a folder of pictures. ``path`` is the file itself, even if a link was named; ``overwrite`` allows
    replacing it."""

    path: Path
    container: str
    overwrite: bool

    @classmethod
    def of(cls, source: Path, target: Path, options: Options) -> Self:
        """The HDR10 file, or the folder of its pictures. Raises OutputError if it cannot or must not be written."""
        if CODECS[options.codec].ending:
            path = _folder(source, target, options)
            return cls(path, FOLDER, options.overwrite)
        return cls(
            _writable(source, target, options.overwrite),
            _container(target, options.container),
            options.overwrite,
        )

    @classmethod
    def of_still(cls, source: Path, target: Path, options: Options) -> Self:
        """The file of a still picture. Raises OutputError as :meth:`of` does."""
        path = _writable(source, target, options.overwrite)
        return cls(path, target.suffix.lower().lstrip("."), options.overwrite)

    @classmethod
    def of_aux(cls, source: Path, main: "Output", options: Options) -> Self | None:
        """The file for the restored SDR picture, if one is wanted. Raises OutputError as :meth:`of` does."""
        if options.aux_sdr is None:
            return None
        if main.container == FOLDER:
            raise OutputError(
                f"{CODECS[options.codec].noun} is written alone; leave --aux-sdr out, or choose another --codec."
            )
        target = Path(options.aux_sdr)
        container = _container(target, None)
        if target.resolve() == main.path.resolve():
            raise OutputError(f"{target} cannot hold both pictures; give --aux-sdr another name.")
        return cls(_writable(source, target, options.overwrite), container, options.overwrite)

    def put(self, data: bytes) -> None:
        """Write a small file at once, whole. Raises OutputError."""
        write_whole(self.path, data, self.overwrite)

    def appear(self, made: Path) -> None:
        """Rename the finished file to its target name, in one step.

        A folder of pictures that is there must make room first. If the new one cannot take its place, it comes back.
        """
        if self.container == FOLDER:
            self._folder_appears(made)
            return
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

    def _folder_appears(self, made: Path) -> None:
        replaced = made.with_name(REPLACED)
        try:
            if self.path.exists():
                _check_room(self.path, self.path, self.overwrite)
                self.path.rename(replaced)
            try:
                made.rename(self.path)
            except OSError:
                if replaced.exists():
                    replaced.rename(self.path)
                raise
        except OSError as e:
            raise OutputError(
                f"{self.path} cannot be written ({e.strerror}); choose another name."
            ) from e


def _folder(source: Path, target: Path, options: Options) -> Path:
    """The folder to write pictures into: the absolute path of ``target``, or of what it links to."""
    ending = target.suffix.lower()
    container = options.container or ending.lstrip(".")
    if container in CONTAINERS:
        raise OutputError(container_refusal(options.codec, container))
    if ending in PICTURES:
        raise OutputError(
            f"{target} names one picture, and a film is many; name a folder, without {ending}."
        )
    with _told(target):
        path = target.resolve()
        if source.exists() and path.exists() and source.resolve().is_relative_to(path):
            raise OutputError(f"{target} holds the source; choose another folder.")
        if path.exists() and not path.is_dir():
            raise OutputError(f"{target} is not a folder; name one for the pictures.")
        if path.is_mount():
            raise OutputError(f"{target} is a whole disk; name a folder on it.")
        if path.exists():
            _check_room(target, path, options.overwrite)
        _check_parent(path)
    return path


def _check_room(named: Path, path: Path, overwrite: bool) -> None:
    """Raises OutputError unless a folder is empty or holds pictures of an earlier run that may be replaced."""
    if (name := foreign(path)) is not None:
        raise OutputError(
            f"{named} holds {name}, which sdr2hdr did not write there; name another folder, or empty this one."
        )
    if any(path.iterdir()) and not overwrite:
        raise OutputError(
            f"{named} holds a film's pictures; name another folder, or replace them with -y."
        )


def _container(target: Path, container: str | None) -> str:
    container = container or target.suffix.lower().lstrip(".")
    if container not in CONTAINERS:
        raise OutputError(
            f"{target} names no container that can hold the result; end it in .mkv, .mp4 or .mov, or in .avif or .jpg for a still"
            " picture, or use --container."
        )
    return container


def _writable(source: Path, target: Path, overwrite: bool) -> Path:
    """The file to write: ``target``, or what it links to."""
    with _told(target):
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
        _check_parent(path)
    return path


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """Errors of names and links become one sentence."""
    try:
        yield
    except (OSError, RuntimeError) as e:  # too long a name, or links in a circle
        raise OutputError(
            f"{target} cannot be written ({getattr(e, 'strerror', e)}); choose another name."
        ) from e


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise OutputError(f"The folder {path.parent} does not exist; make it first.")
