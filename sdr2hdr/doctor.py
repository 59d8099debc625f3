"""What this machine has for conversions, what is missing, and how to get it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from sdr2hdr import __version__
from sdr2hdr.codecs import CODECS, software
from sdr2hdr.errors import Sdr2HdrError
from sdr2hdr.kernels.compiled import cache_folder, why_not, why_not_kept
from sdr2hdr.media.encoder import EncoderGone, EncodeSettings, has_encoder
from sdr2hdr.media.encoders import ENCODERS
from sdr2hdr.media.trial import try_hardware
from sdr2hdr.render.device import free_memory
from sdr2hdr.weights import fetch
from sdr2hdr.weights.manifest import entries

PACKAGES = (
    "torch",
    "av",
    "numpy",
    "click",
    "rich",
    "pillow",
    "imageio",
    "OpenEXR",
    "safetensors",
    "huggingface-hub",
)
EXTRAS = {
    "pywavelets": ("train", "wavelet masking of WMNet's first phase"),
    "matplotlib": ("train", "loss curves and charts"),
    "ray": ("cluster", "renders on many machines with --cluster"),
    "piq": ("metrics", "VSI, VIFp, HaarPSI and others in evaluate"),
}
TOOLS = {
    "dovi_tool": (
        "https://github.com/quietvoid/dovi_tool/releases",
        "makes the metadata of --dolby-vision",
    ),
    "ffprobe": ("apt-get install ffmpeg", "judges results in the tests"),
    "mediainfo": ("apt-get install mediainfo", "judges results in the tests"),
    "mkvmerge": ("apt-get install mkvtoolnix", "judges results in the tests"),
    "chromium": ("apt-get install chromium", "opens the pages of compare in the tests"),
}
LEAST = 4 << 30
"""Bytes: a chunk of a 4K film, its assembled copy, and some spare room."""


@dataclass(frozen=True)
class Finding:
    """One checked item. ``state`` is ``ok``, ``absent`` (optional) or ``bad`` (conversions fail or may fail)."""

    topic: str
    name: str
    state: str
    said: str
    way_out: str = ""


def examine(folder: Path) -> Iterator[Finding]:
    """Everything that conversions into ``folder`` and the tests need, in reading order."""
    yield Finding("versions", "sdr2hdr", "ok", __version__)
    for name in PACKAGES:
        yield Finding("versions", name, "ok", version(name))
    yield from _devices()
    yield from _encoders()
    yield _kernels()
    yield from _weights()
    yield _disk("results and work", folder)
    yield _disk("downloaded weights", fetch.cache_folder())
    for name, (extra, use) in EXTRAS.items():
        try:
            yield Finding("extras", name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding("extras", name, "absent", use, f'pip install "sdr2hdr[{extra}]"')
    for name, (way, use) in TOOLS.items():
        found = shutil.which(name)
        if found:
            yield Finding("tools", name, "ok", found)
        else:
            yield Finding("tools", name, "absent", use, way)


def _devices() -> Iterator[Finding]:
    cpu = torch.device("cpu")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(
        "devices",
        "cpu",
        "ok",
        f"{cores} cores, {torch.get_num_threads()} threads, {_gib(free_memory(cpu))} free",
    )
    if not torch.cuda.is_available():
        way = "an NVIDIA GPU with its driver, and torch from pip's default index; films on a CPU take seconds a frame"
        yield Finding("devices", "cuda", "absent", "no GPU that torch can use", way)
    for i in range(torch.cuda.device_count()):
        device = torch.device("cuda", i)
        yield Finding(
            "devices",
            str(device),
            "ok",
            f"{torch.cuda.get_device_name(i)}, {_gib(free_memory(device))} free",
        )


def _kernels() -> Finding:
    if (why := why_not() or why_not_kept()) is not None:
        said, way_out = why.removesuffix(".").rsplit("; ", 1)
        return Finding("kernels", "compiled", "absent", said, way_out)
    return Finding(
        "kernels", "compiled", "ok", f"numba {version('numba')}, kept in {cache_folder()}"
    )


def _encoders() -> Iterator[Finding]:
    for codec in CODECS:
        encoder = ENCODERS[codec, software(codec)]
        name = encoder.name
        if encoder.picture is not None or has_encoder(name):
            yield Finding("encoders", codec, "ok", name)
        else:
            way = "install PyAV from PyPI (pip install --force-reinstall av), whose wheels have it"
            state = "bad" if codec == "hevc" else "absent"
            yield Finding("encoders", codec, state, f"{name} is not in this PyAV", way)
    for codec, word in (key for key, encoder in ENCODERS.items() if encoder.hardware):
        settings = EncodeSettings(
            codec,
            CODECS[codec].crf or 0.0,
            CODECS[codec].encoders[word].preset,
            640,
            360,
            Fraction(1, 24),
            Fraction(24),
            encoder=word,
        )
        named = f"{codec} {word}"
        try:
            try_hardware(settings)
        except EncoderGone as e:
            way = f"optional: a GPU with this encoder and its driver, for --encoder {word}"
            yield Finding("encoders", named, "absent", str(e), way)
        else:
            said = f"{settings.writer.name} passes a trial here; it was never checked on other hardware"
            yield Finding("encoders", named, "ok", said)


def _weights() -> Iterator[Finding]:
    try:
        known = entries()
    except Sdr2HdrError as e:
        yield Finding("weights", "list", "bad", str(e), "correct the list or move it away")
        return
    for name, entry in known.items():
        path = fetch.place(entry)
        if not path.exists() and not entry.bundled:
            yield Finding(
                "weights", name, "absent", "not downloaded yet", f"sdr2hdr weights pull {name}"
            )
            continue
        try:
            fetch.check(path, entry)
        except Sdr2HdrError as e:
            yield Finding(
                "weights",
                name,
                "bad",
                str(e),
                "reinstall sdr2hdr" if entry.bundled else "delete the file",
            )
            continue
        yield Finding("weights", name, "ok", f"{entry.size / 1e6:.2f} MB, checked")


def _disk(name: str, folder: Path) -> Finding:
    """Free space and write permission of a folder, or of its nearest existing parent."""
    there = next(
        (p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir()), Path("/")
    )
    try:
        free = shutil.disk_usage(there).free
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as e:
        return Finding(
            "disk", name, "bad", f"{folder}: {e.strerror}", "name a folder that can be written"
        )
    said = f"{folder}: {_gib(free)} free"
    return Finding(
        "disk", name, "ok" if free > LEAST else "bad", said, "" if free > LEAST else "make room"
    )


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
