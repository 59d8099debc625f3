"""The work folder: the plan, and for each chunk its file, its facts and the state after it. It survives kill -9.

A chunk counts as done when its facts are there; they are written last, whole or not at all. The folder lies beside the
output, so that it is on the disk that must hold the result anyway.
"""

import fcntl
import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from safetensors.torch import load_file, save_file

from sdr2hdr import __version__
from sdr2hdr.color.light import LightFacts
from sdr2hdr.errors import OutputError
from sdr2hdr.jobs.plan import Plan
from sdr2hdr.media.encoder import ChunkFacts
from sdr2hdr.models.spec import State


class Work:
    """A conversion's work folder. One process holds it; its workers join it by its path.

    Raises OutputError where it cannot be made, is held by another conversion, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: IO[str] | None = None

    @classmethod
    def beside(cls, target: Path) -> Self:
        """The work folder of a target file, held until :meth:`close`."""
        work = cls(target.parent / f".{target.name}.sdr2hdr-work")
        try:
            work.folder.mkdir(exist_ok=True)
            if work.folder.is_symlink():  # what lies in the folder is deleted: never where a link leads
                raise OutputError(f"{work.folder} is a link where the work folder must be; remove it.")
            work._lock = (work.folder / "lock").open("w")
        except (OSError, ValueError) as e:  # a name with a NUL in it is a ValueError
            raise OutputError(
                f"{work.folder} cannot be written ({getattr(e, 'strerror', e)}); choose another folder or name for the output."
            ) from e
        try:
            fcntl.flock(work._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"Another conversion is writing {target} right now; wait for it or choose another name."
            ) from None
        return work

    def close(self, *, remove: bool) -> None:
        """Give the folder up, and take it away where it is no longer needed or holds no plan to go on with."""
        if remove or not self._plan.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def chunk(self, index: int, *, aux: bool = False) -> Path:
        return self.folder / f"chunk-{index:05d}{'-aux' if aux else ''}.packets"

    def _facts(self, index: int) -> Path:
        return self.folder / f"chunk-{index:05d}.json"

    def _states(self, index: int) -> Path:
        return self.folder / f"state-{index:05d}.safetensors"

    @property
    def _plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def assembled(self) -> Path:
        return self.folder / "assembled.part"

    @property
    def assembled_aux(self) -> Path:
        return self.folder / "assembled-aux.part"

    def read_plan(self) -> Plan | None:
        """The plan that was begun here, if there is one that can be read."""
        try:
            data = json.loads(self._plan.read_text())
            return Plan.from_json(data["plan"]) if data["version"] == __version__ else None
        except Exception:  # whatever is in the file, a new plan is the answer
            return None

    def begin(self, plan: Plan) -> None:
        """Start anew with a plan: everything else in the folder goes."""
        try:
            for path in self.folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != "lock":
                    path.unlink()
        except OSError as e:
            raise OutputError(f"{path} cannot be removed ({e.strerror}); remove {self.folder} by hand.") from e
        self.write_plan(plan)

    def write_plan(self, plan: Plan) -> None:
        # another version may find other scenes or render other frames: it starts anew
        self._write(self._plan, {"version": __version__, "plan": plan.to_json()})

    def _write(self, path: Path, data: dict[str, Any]) -> None:
        part = path.with_suffix(".part")
        try:
            with part.open("w") as f:
                json.dump(data, f)
                f.flush()
                os.fsync(f.fileno())
            part.replace(path)
        except OSError as e:
            raise OutputError(
                f"{path} cannot be written ({e.strerror}); free some space and run the same command again."
            ) from e

    def finish(
        self,
        index: int,
        facts: ChunkFacts,
        light: LightFacts,
        states: list[State] | None,
        aux: ChunkFacts | None = None,
    ) -> None:
        """Record a chunk as done; ``states`` are what the next chunk of the same scene starts from; ``aux`` is of its SDR."""
        digest = None
        if states is not None:
            path = self._states(index)
            part = path.with_suffix(".part")
            flat = {f"{i}.{k}": v.contiguous().cpu() for i, s in enumerate(states) for k, v in s.items()}
            try:
                save_file(flat, part, metadata={"tiles": str(len(states))})
                digest = _digest(part)
                part.replace(path)
            except Exception as e:  # safetensors wraps what the system says
                raise OutputError(
                    f"{path} cannot be written ({e}); free some space and run the same command again."
                ) from e
        sdr = asdict(aux) if aux else None
        self._write(
            self._facts(index), {"chunk": asdict(facts), "light": light.to_json(), "states": digest, "aux": sdr}
        )

    def _read(self, index: int) -> tuple[ChunkFacts, LightFacts, str | None, ChunkFacts | None] | None:
        try:
            data = json.loads(self._facts(index).read_text())
            aux = ChunkFacts(**data["aux"]) if data["aux"] else None
            return ChunkFacts(**data["chunk"]), LightFacts.from_json(data["light"]), data["states"], aux
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def done(self, index: int) -> tuple[ChunkFacts, LightFacts] | None:
        """The facts of a finished chunk whose file is still there in its full length."""
        facts = self._read(index)
        if facts is None:
            return None
        files = [(self.chunk(index), facts[0]), (self.chunk(index, aux=True), facts[3])]
        there = (path.is_file() and path.stat().st_size == f.bytes for path, f in files if f is not None)
        return facts[:2] if all(there) else None

    def is_done(self, index: int) -> bool:
        return self.done(index) is not None

    def verify(self, count: int) -> None:
        """Forget those of so many chunks of an earlier run whose files are not what their facts say."""
        for i in range(count):
            facts = self._read(i)
            if facts is None:
                continue
            chunk, _, states, aux = facts
            files = [(self.chunk(i), chunk.sha256), (self._states(i), states)]
            files += [(self.chunk(i, aux=True), aux.sha256 if aux else None)]
            if any(digest is not None and _digest(path) != digest for path, digest in files):
                self.forget(i)

    def forget(self, index: int) -> None:
        """Let a chunk be rendered again."""
        self._facts(index).unlink(missing_ok=True)

    def read_states(self, index: int, count: int) -> list[State]:
        """The states after a chunk, one a tile."""
        try:
            flat = load_file(self._states(index))
        except Exception as e:  # safetensors wraps what the system says
            raise OutputError(f"{self._states(index)} cannot be read ({e}); run the same command again.") from e
        states: list[State] = [{} for _ in range(count)]
        for key, value in flat.items():
            tile, name = key.split(".", 1)
            states[int(tile)][name] = value
        return states


def _digest(path: Path) -> str | None:
    """The SHA-256 of a file; None where it cannot be read."""
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError:
        return None
