"""The work folder: the plan, and for each chunk its file, its facts and the state after it. It survives kill -9.

A chunk is done once its facts exist; they are written last, whole or not at all. The folder is next to the output, on the
disk that must hold the result anyway.

Plan, facts and files must fit each other. Damaged or edited chunks are rendered again, and :attr:`Work.notes` says so.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec
from safetensors.torch import load, save_file

from sdr2hdr.color.light import BINS, LightFacts
from sdr2hdr.errors import OutputError
from sdr2hdr.jobs.folder import Folder
from sdr2hdr.jobs.output import REPLACED
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.media.encoder import ChunkFacts
from sdr2hdr.models.spec import State
from sdr2hdr.system import longest_name

_PLAN = "plan.json"
_ENDING = ".sdr2hdr-work"
PART = ".part"
"""The ending of files that are being written."""


@dataclass(frozen=True)
class Facts:
    """The facts of a finished chunk: its file, the light of each of its runs, the SHA-256 of the states after it, and its
    restored SDR file."""

    chunk: ChunkFacts
    light: tuple[LightFacts, ...]
    states: str | None
    aux: ChunkFacts | None


class Work:
    """A conversion's work folder. One process holds it; its workers join it by its path.

    ``notes`` are sentences about content that could not be used. Raises OutputError if it cannot be made or written, is
    locked by another conversion, or belongs to another user.
    """

    def __init__(self, folder: Path, *, hold_for: Path | None = None) -> None:
        self.folder = folder
        self.notes: list[str] = []
        try:
            self._files = Folder(folder) if hold_for is None else Folder.locked(folder)
        except BlockingIOError:
            raise OutputError(
                f"Another conversion is writing {hold_for} right now; wait for it or choose another name."
            ) from None
        except (OSError, ValueError) as e:  # a name with a NUL in it is a ValueError
            raise OutputError(
                f"{folder} cannot be written ({getattr(e, 'strerror', e)}); choose another folder or name for the output."
            ) from e

    @classmethod
    def beside(cls, target: Path) -> Self:
        """The work folder of a target file, locked until :meth:`close`, without what a killed run was writing."""
        work = cls(folder_for(target), hold_for=target)
        files = work._files
        ours = [n for n in (work.pictures.name, REPLACED) if files.is_folder(n)]
        odd = [n for n in files.names() if files.size(n) is None and n not in ours]
        for name in (
            odd
        ):  # sdr2hdr makes only files and these folders: links, pipes and others are not ours
            work.remove(name)
        if odd:
            work.notes.append(
                f"The work folder held what sdr2hdr does not make ({', '.join(odd)}); it was removed."
            )
        for name in work._passing:  # of a run that was killed
            work.remove(name)
        return work

    def close(self, *, remove: bool) -> None:
        """Release the folder, and remove it if it is no longer needed or holds no plan to resume."""
        if remove or self._files.size(_PLAN) is None:
            self._files.remove()
            return
        with suppress(OSError):
            for name in self._passing:
                self._files.unlink(name)
        self._files.close()

    def chunk(self, index: int, *, aux: bool = False) -> Path:
        return self.folder / f"chunk-{index:05d}{'-aux' if aux else ''}.packets"

    def _facts(self, index: int) -> str:
        return f"chunk-{index:05d}.json"

    def states_name(self, index: int) -> str:
        return f"state-{index:05d}.safetensors"

    @property
    def assembled(self) -> Path:
        return self.folder / "assembled.part"

    @property
    def assembled_aux(self) -> Path:
        return self.folder / "assembled-aux.part"

    @property
    def pictures(self) -> Path:
        """The folder in which pictures are assembled."""
        return self.folder / "pictures.part"

    @property
    def _passing(self) -> tuple[str, ...]:
        """What is of no use to a later run."""
        parts = (name for name in self._files.names() if name.endswith(PART))
        return self.pictures.name, REPLACED, *parts

    def read_plan(self) -> Plan | None:
        """The usable plan of an earlier run, or None."""
        if self._files.size(_PLAN) is None:
            return None
        try:
            return Plan.from_json(self._files.read_json(_PLAN)["plan"])
        except Exception:  # any unusable content leads to a new plan
            self.notes.append(
                "The plan of an earlier run was damaged or edited, so the film was started again."
            )
            return None

    def begin(self, plan: Plan) -> None:
        """Start again with a plan, and delete everything else in the folder."""
        for name in self._files.names():
            self.remove(name)
        self.write_plan(plan)

    def write_plan(self, plan: Plan) -> None:
        self._write(_PLAN, {"plan": plan.to_json()})

    def finish(
        self,
        index: int,
        facts: ChunkFacts,
        light: Sequence[LightFacts],
        states: list[State] | None,
        aux: ChunkFacts | None = None,
    ) -> None:
        """Record a chunk as done, with the light of each run.

        ``states`` start the next chunk of the same scene; ``aux`` belongs to the restored SDR.
        """
        digest = None
        if states is not None:
            name = self.states_name(index)
            part = f"{name}.part"
            flat = {
                f"{i}.{k}": v.contiguous().cpu() for i, s in enumerate(states) for k, v in s.items()
            }
            try:
                self._files.create(part).close()
                save_file(flat, self.folder / part, metadata={"tiles": str(len(states))})
                digest = self._files.sha256(part)
                self._files.rename(part, name)
            except Exception as e:  # safetensors wraps the system's error
                raise self.cannot_write(name, e) from e
        self._write(
            self._facts(index), msgspec.to_builtins(Facts(facts, tuple(light), digest, aux))
        )

    def done(self, index: int) -> tuple[ChunkFacts, tuple[LightFacts, ...]] | None:
        """The facts of a finished chunk and the light of each run, if its file still exists with its full length."""
        facts = self._read_facts(index)
        if facts is None:
            return None
        files = [(self.chunk(index), facts.chunk), (self.chunk(index, aux=True), facts.aux)]
        there = (self._files.size(path.name) == f.bytes for path, f in files if f is not None)
        return (facts.chunk, facts.light) if all(there) else None

    @property
    def has_chunks(self) -> bool:
        """Whether any chunk is finished."""
        return any(re.fullmatch(r"chunk-\d+\.json", name) for name in self._files.names())

    def is_done(self, index: int) -> bool:
        return self.done(index) is not None

    def names(self, plan: Plan, index: int) -> tuple[str, ...]:
        """The names of a chunk's files, in the order in which they appear: its facts last."""
        run = plan.chunks[index][-1]
        names = [self.chunk(index).name]
        if plan.settings.aux:
            names.append(self.chunk(index, aux=True).name)
        if run.last < run.scene_last:
            names.append(self.states_name(index))
        return (*names, self._facts(index))

    def create(self, name: str) -> BinaryIO:
        """A new file of the folder, which replaces any of the name."""
        try:
            return self._files.create(name)
        except OSError as e:
            raise self.cannot_write(name, e) from e

    def receive(self, plan: Plan, index: int, parts: Mapping[str, str]) -> bool:
        """Record a chunk that was rendered in another folder as done: ``parts`` are its files' present names, by their own.

        Returns False, and leaves the chunk undone, unless all are there, as they were rendered, and fit the plan.
        """
        for name in self.names(plan, index):
            try:
                self._files.rename(parts[name], name)
            except FileNotFoundError:
                return False
            except OSError as e:
                raise self.cannot_write(name, e) from e
        if not self._fits(plan, index):
            self.forget(index)
            return False
        return True

    def verify(self, plan: Plan) -> None:
        """Mark as not done every chunk whose file or facts no longer match the plan and the recorded hashes."""
        begun = [i for i in range(len(plan.chunks)) if self._files.size(self._facts(i)) is not None]
        wrong = [i for i in begun if not self._fits(plan, i)]
        for index in wrong:
            self.forget(index)
        if wrong:
            many = "One chunk" if len(wrong) == 1 else f"{len(wrong)} chunks"
            self.notes.append(
                f"{many} of an earlier run did not fit the record of it and had to be rendered again."
            )

    def _fits(self, plan: Plan, index: int) -> bool:
        facts = self._read_facts(index)
        if facts is None:
            return False
        runs, pts = plan.chunks[index], plan.survey.pts
        first, last = runs[0].first, runs[-1].last
        goes_on = last < runs[-1].scene_last
        if len(facts.light) != len(runs):
            return False
        if (facts.states is not None) != goes_on or (facts.aux is not None) != plan.settings.aux:
            return False
        if goes_on and self._files.sha256(self.states_name(index)) != facts.states:
            return False
        files = [(self.chunk(index), facts.chunk), (self.chunk(index, aux=True), facts.aux)]
        return all(
            (f.frames, f.first_pts, f.last_pts) == (last - first, pts[first], pts[last - 1])
            and self._files.sha256(path.name) == f.sha256
            for path, f in files
            if f is not None
        )

    def forget(self, index: int) -> None:
        """Let a chunk be rendered again."""
        self.remove(self._facts(index))

    def read_states_file(self, index: int) -> bytes:
        """The file of the states after a chunk, as it is."""
        name = self.states_name(index)
        try:
            return self._files.read(name)
        except OSError as e:
            raise OutputError(
                f"{self.folder / name} cannot be read ({e.strerror}); run the same command again."
            ) from e

    def read_states(self, index: int, count: int) -> list[State]:
        """The states after a chunk, one per tile."""
        name = self.states_name(index)
        states: list[State] = [{} for _ in range(count)]
        try:
            for key, value in load(self.read_states_file(index)).items():
                tile, part = key.split(".", 1)
                states[int(tile)][part] = value
        except OutputError:
            raise
        except Exception as e:  # safetensors has errors of its own
            raise OutputError(
                f"{self.folder / name} cannot be read ({e}); run the same command again."
            ) from e
        return states

    def _read_facts(self, index: int) -> Facts | None:
        try:
            facts = msgspec.convert(self._files.read_json(self._facts(index)), Facts)
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            return None
        return facts if all(len(light.histogram) == BINS for light in facts.light) else None

    def _write(self, name: str, data: dict[str, Any]) -> None:
        try:
            self._files.write_json(name, data)
        except OSError as e:
            raise self.cannot_write(name, e) from e

    def remove(self, name: str) -> None:
        """Remove an entry of the folder, if there is one."""
        try:
            self._files.unlink(name)
        except OSError as e:
            raise OutputError(
                f"{self.folder / name} cannot be removed ({e.strerror}); remove {self.folder} by hand."
            ) from e

    def cannot_write(self, name: str, e: Exception) -> OutputError:
        """The error for people about a file of the folder."""
        why = getattr(e, "strerror", None) or e
        return OutputError(
            f"{self.folder / name} cannot be written ({why}); free some space and run the same command again."
        )


def folder_for(target: Path) -> Path:
    """The path of a target's work folder: named after the target, or after a hash if that name would be too long."""
    name = f".{target.name}{_ENDING}"
    if len(os.fsencode(name)) > longest_name(target.parent):
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]}{_ENDING}"
    return target.parent / name
