"""``benchmarks/gpu.py`` runs on a machine that has torch and numpy alone, from a copy of two folders."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ABSENT = (
    "av",
    "click",
    "rich",
    "numba",
    "msgspec",
    "platformdirs",
    "filelock",
    "safetensors",
    "PIL",
)
SCRIPT = f"""
import runpy, sys
for name in {ABSENT}:
    sys.modules[name] = None
sys.argv[0] = "gpu"
runpy.run_module("benchmarks.gpu", run_name="__main__")
"""


def test_it_runs_from_a_copy_of_the_tree(tmp_path: Path) -> None:
    for folder in ("sdr2hdr", "benchmarks"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "check.py").write_text(SCRIPT)
    args = [
        "--device",
        "cpu",
        "--sizes",
        "64x48",
        "--models",
        "look,wmnet-fast",
        "--seconds",
        "0.01",
    ]
    done = subprocess.run(
        [sys.executable, "check.py", *args], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["models"].keys() == {"look", "wmnet-fast"}
    for model in found["models"].values():
        assert (
            model["apart"]["float32 worst"] == 0 and not model["passed_limits"]
        )  # it is the same CPU
        assert model["sizes"]["64x48"]["frames_per_second"] > 0
