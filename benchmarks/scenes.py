"""How well scenes are found: precision, recall and F1 of the detector beside PySceneDetect's, and their speed.

    python -m benchmarks.scenes --clips DIR --stills DIR [--unseen-clips DIR] [--part tune|unseen] [--seed N] [--rounds N]

``--clips`` holds the clips named in scenes_truth.toml, ``--stills`` EXR or JPEG pictures. ``--part unseen`` makes reels of
the other half of the stills and of ``--unseen-clips``. Needs ``pip install sdr2hdr[bench,dev]``. Scoring: docs/scenes.md.
"""

import argparse
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from scenedetect import AdaptiveDetector, ContentDetector, SceneManager, open_video

from benchmarks.scenes_material import TRAPS, VIDEO, Change, Pool, reels, write
from sdr2hdr.jobs.plan import survey
from sdr2hdr.media.source import Source


def ours(path: Path) -> list[int]:
    """Cuts found by this project's detector."""
    return list(survey(Source(path), "auto", lambda _done, _total: None).cuts)


def _pyscenedetect(kind: type) -> Callable[[Path], list[int]]:
    def detect(path: Path) -> list[int]:
        video, manager = open_video(str(path), backend="pyav"), SceneManager()
        manager.add_detector(kind())
        manager.detect_scenes(video)
        return [scene[0].frame_num for scene in manager.get_scene_list()][1:]

    return detect


DETECTORS: dict[str, Callable[[Path], list[int]]] = {
    "sdr2hdr": ours,
    "Adaptive": _pyscenedetect(AdaptiveDetector),
    "Content": _pyscenedetect(ContentDetector),
}


@dataclass
class Tally:
    """Found, missed and false changes of one kind of material, and the time taken."""

    found: int = 0
    missed: int = 0
    false: int = 0
    frames: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.found += other.found
        self.missed += other.missed
        self.false += other.false

    @property
    def scores(self) -> tuple[float, float, float]:
        precision = self.found / max(1, self.found + self.false)
        recall = self.found / max(1, self.found + self.missed)
        return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


def match(cuts: list[int], truth: tuple[Change, ...]) -> tuple[dict[str, Tally], list[int]]:
    """Tallies for each kind, and the cuts that match nothing. A cut answers for one change, a change takes one cut."""
    left, tallies = list(cuts), {"hard": Tally(), "gradual": Tally()}
    for change in truth:
        slack = 1 if change.kind == "hard" else 5
        hits = [c for c in left if change.first - slack <= c <= change.last + slack]
        if hits:
            left.remove(min(hits, key=lambda c: abs(2 * c - change.first - change.last)))
            tallies[change.kind].found += 1
        else:
            tallies[change.kind].missed += 1
            tallies[change.kind].faults.append(f"missed {change.first}-{change.last}")
    return tallies, left


class Board:
    """Results by detector and kind of material."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Tally]] = {name: defaultdict(Tally) for name in DETECTORS}

    def run(
        self, path: Path, group: str, truth: tuple[Change, ...], frames: int, *, say: bool
    ) -> None:
        for name, detect in DETECTORS.items():
            av.logging.set_level(None)  # PySceneDetect turns FFmpeg's own words on
            since = time.perf_counter()
            cuts = detect(path)
            seconds = time.perf_counter() - since
            tallies, false = match(cuts, truth)
            # a cut that matches nothing counts against what the material is about: hard cuts where it has any
            kinds = {c.kind for c in truth}
            blamed = "gradual" if kinds == {"gradual"} else "hard"
            row = self.rows[name]
            for kind in kinds:
                row[f"{group} {kind}"].add(tallies[kind])
            row[f"{group} {blamed}" if kinds else f"{group} false"].false += len(false)
            row["time"].frames += frames
            row["time"].seconds += seconds
            faults = [f for t in tallies.values() for f in t.faults] + [f"false {c}" for c in false]
            if say and faults:
                print(f"  {path.name} {name}: {', '.join(faults)}", flush=True)

    def show(self, title: str) -> None:
        print(f"\n### {title}\n\n| material | {' | '.join(f'{n} P / R / F1' for n in DETECTORS)} |")
        print(f"|---|{'---|' * len(DETECTORS)}")
        names = dict.fromkeys(
            k for row in self.rows.values() for k in row if k != "time" and not k.endswith("false")
        )
        for key in names:
            cells = [
                "{:.3f} / {:.3f} / {:.3f}".format(*self.rows[n][key].scores) for n in DETECTORS
            ]
            count = self.rows["sdr2hdr"][key]
            print(f"| {key} ({count.found + count.missed}) | {' | '.join(cells)} |")
        for key in dict.fromkeys(
            k for row in self.rows.values() for k in row if k.endswith("false")
        ):
            print(f"| {key} | {' | '.join(str(self.rows[n][key].false) for n in DETECTORS)} |")
        cells = [
            f"{self.rows[n]['time'].frames / max(1e-9, self.rows[n]['time'].seconds):.0f}"
            for n in DETECTORS
        ]
        print(f"| frames per second, decoding included | {' | '.join(cells)} |", flush=True)


def _truth(entry: dict[str, list[Any]]) -> list[Change]:
    changes = [Change("hard", c, c) for c in entry.get("hard", [])]
    changes += [Change("gradual", a, b) for a, b in entry.get("gradual", [])]
    return sorted(changes, key=lambda c: c.first)


def _frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for p in container.demux(video=0) if p.size)


def main() -> None:
    parser = argparse.ArgumentParser(description="Score the scene detector beside PySceneDetect's.")
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--stills", type=Path, nargs="+", required=True)
    parser.add_argument("--unseen-clips", type=Path)
    parser.add_argument("--part", choices=("tune", "unseen"), default="tune")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--say", action="store_true", help="name every miss and false cut")
    args = parser.parse_args()
    listed = tomllib.loads(Path(__file__).with_name("scenes_truth.toml").read_text())
    clips = {p: _truth(listed[p.name]) for p in sorted(args.clips.iterdir()) if p.suffix in VIDEO}

    board = Board()
    if args.part == "tune":
        for path, changes in clips.items():
            board.run(path, "real clips", tuple(changes), _frames(path), say=args.say)
        board.show("Real clips, hand-checked")
    else:
        clips = {
            p: list[Change]() for p in sorted(args.unseen_clips.iterdir()) if p.suffix in VIDEO
        }

    board = Board()
    stills = sorted(p for d in args.stills for p in d.iterdir() if p.suffix in {".exr", ".jpg"})
    pool = Pool(clips, stills, part=("tune", "unseen").index(args.part))
    with tempfile.TemporaryDirectory() as folder:
        for reel in reels(pool, args.seed, args.rounds):
            path = Path(folder) / f"{reel.name}.mp4"
            write(reel, path)
            group = "trap" if reel.group in {t.__name__[1:] for t in TRAPS} else "made"
            board.run(path, f"{group} {reel.group}", reel.truth, len(reel.frames), say=args.say)
            path.unlink()
    board.show(f"Made-up reels, part '{args.part}', seed {args.seed}, {args.rounds} rounds")


if __name__ == "__main__":
    main()
