"""Kills of workers, nodes, drivers and heads of a Ray cluster while it renders; a part of :mod:`benchmarks.kills`."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from benchmarks.kills import FRAMES, packets
from benchmarks.nodes import (
    add_node,
    folder,
    free_port,
    kill_head,
    kill_raylet,
    started,
    tasks_of,
    wait_for,
)
from sdr2hdr.jobs.work import folder_for

VICTIMS = ("worker", "node", "driver", "head")
NODES = 2
_SCENE, _CHUNK = 15, 5


class _Journal:
    """Watches the records of finished chunks: each time that a chunk is finished, its record is a new file."""

    def __init__(self, out: Path) -> None:
        self.work = folder_for(out)
        self.seen: dict[str, set[tuple[int, int]]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Journal":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.look()

    def look(self) -> set[str]:
        """The chunks that are finished now."""
        here = set()
        for path in self.work.glob("chunk-*.json"):
            try:
                found = path.stat()
            except OSError:
                continue
            here.add(path.name)
            self.seen.setdefault(path.name, set()).add((found.st_ino, found.st_mtime_ns))
        return here

    @property
    def twice(self) -> int:
        """The chunks that were finished more than once."""
        return sum(len(times) > 1 for times in self.seen.values())


def _command(source: Path, out: Path, model: str, address: str) -> "subprocess.Popen[str]":
    cuts = source.with_name("cuts.txt")
    start = [sys.executable, "-m", "sdr2hdr", "convert", str(source), str(out), "-q"]
    words = ["--preset", "ultrafast", "--chunk-frames", str(_CHUNK), "--scenes", str(cuts)]
    more = ["--model", model, "--keep-work", "--cluster", address]
    return subprocess.Popen([*start, *words, *more], stderr=subprocess.PIPE, text=True)


def _kill(victim: str, process: "subprocess.Popen[str]", nodes: Any, rng: random.Random) -> bool:
    """Kill one of them; False if there is none."""
    if victim == "driver":
        process.send_signal(signal.SIGKILL)
        return True
    if victim == "head":
        kill_head(nodes)
        return True
    if victim == "node":
        node = rng.choice(sorted(nodes.worker_nodes, key=lambda n: str(n.unique_id)))
        kill_raylet(node)
        nodes.remove_node(node)
        return True
    at_work = tasks_of("chunk *")
    if at_work:
        os.kill(rng.choice(at_work), signal.SIGKILL)
    return bool(at_work)


def attack(count: int, rng: random.Random, model: str, source: Path, outputs: Path) -> int:
    """Kill ``count`` times, in turn each kind of victim, and print what was lost; returns 1 if anything went wrong."""
    (source.with_name("cuts.txt")).write_text("\n".join(map(str, range(0, FRAMES, _SCENE))))
    wrong = killed = missed = twice = kept = 0
    counted: Counter[str] = Counter()
    port = free_port()
    with folder(), ExitStack() as stack:
        nodes = stack.enter_context(started(NODES, port=port))
        whole = outputs / "whole.mkv"
        process = _command(source, whole, model, nodes.address)
        wait_for(lambda: folder_for(whole).exists() or process.poll() is not None, "the plan")
        since = time.monotonic()
        process.communicate()
        takes, truth = time.monotonic() - since, packets(whole)
        while killed < count and missed < 4 * count:
            out = outputs / f"cluster-{killed}.mkv"
            victim = VICTIMS[killed % len(VICTIMS)]
            with _Journal(out) as journal:
                process = _command(source, out, model, nodes.address)
                while process.poll() is None and not folder_for(out).exists():
                    time.sleep(0.02)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(rng.uniform(0, takes))
                done = journal.look()
                if process.poll() is not None or not _kill(victim, process, nodes, rng):
                    missed += 1
                    process.communicate()
                    shutil.rmtree(folder_for(out))
                    out.unlink(missing_ok=True)
                    continue
                if victim == "head":
                    nodes.shutdown()
                    nodes = stack.enter_context(started(NODES, port=port))
                _, said = process.communicate()
                # it may have been killed as it left the cluster, after the film had appeared
                finished = victim == "driver" and out.exists()
                if victim == "driver" and not finished:
                    process = _command(source, out, model, nodes.address)
                    _, said = process.communicate()
            words = ""
            if process.returncode != 0 and not finished:
                words = f"exit code {process.returncode}: {said}"
            elif packets(out) != truth:
                words = "other packets than undisturbed"
            elif parts := [p.name for p in folder_for(out).iterdir() if p.name.endswith(".part")]:
                words = f"left behind: {parts}"
            elif journal.twice:
                words = f"{journal.twice} chunks were done twice"
            wrong += bool(words)
            print(f"{victim} at {len(done)} chunks: {words or 'well'}", flush=True)
            twice, kept = twice + journal.twice, kept + len(done)
            killed += 1
            counted[f"{victim}, {'some' if done else 'no'} chunks done"] += 1
            shutil.rmtree(folder_for(out), ignore_errors=True)
            out.unlink(missing_ok=True)
            while len(nodes.worker_nodes) < NODES:
                add_node(nodes)
    chunks = FRAMES // _CHUNK
    print(
        f"cluster: {killed} kills, {wrong} went wrong; at the kill: {dict(sorted(counted.items()))}; "
        f"{kept} of {killed * chunks} chunks were done before the kill, {twice} chunks were done twice",
        flush=True,
    )
    return int(wrong > 0 or killed < count)
