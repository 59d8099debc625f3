"""``--model auto``: what is chosen, why, and that an interrupted film keeps it; and the forecast of a film's time."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from media_makers import make_clip

from sdr2hdr import convert
from sdr2hdr.errors import ModelError
from sdr2hdr.jobs import auto
from sdr2hdr.jobs.auto import Choice, choose_model, frames_per_second
from sdr2hdr.jobs.plan import Fingerprint, Plan, Survey, cut_chunks
from sdr2hdr.jobs.progress import Progress, Ticker
from sdr2hdr.jobs.settings import Settings
from sdr2hdr.jobs.work import Work, folder_for
from sdr2hdr.media.encoder import EncodeSettings
from sdr2hdr.models import registry
from sdr2hdr.options import DEFAULTS, Options

HD = (1920, 1080)


def plan_of(*, frames: int, chunk: int = 16) -> Plan:
    """A plan of one scene, as ``convert`` would make it for the static mapping bt2408."""
    spec = registry.spec("bt2408")
    settings = Settings.of(Options(model="bt2408", device="cpu"), spec, "")
    encode = EncodeSettings("hevc", 16.0, "medium", 96, 64, Fraction(1, 24), Fraction(24))
    found = Survey(tuple(range(frames)), 1, (), None)
    chunks = cut_chunks(found, chunk, spec)
    return Plan("", Fingerprint(0, 0, ""), settings, encode, found, chunks, 96)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """A machine with a GPU of a given speed, in frames a second (of all models, or by model), or one that fails."""

    def make(speed: Any) -> None:
        def measured(name: str, *_: object) -> float:
            if isinstance(speed, BaseException):
                raise speed
            return float(speed[name] if isinstance(speed, dict) else speed)

        monkeypatch.setattr(auto, "pick_device", lambda _: torch.device("cuda"))
        monkeypatch.setattr(auto, "frames_per_second", measured)

    return make


def test_a_gpu_of_ten_frames_a_second_gets_a_network_and_every_other_machine_look(
    gpu: Callable[[Any], None],
) -> None:
    choice = choose_model(Options(device="cpu"), HD)
    assert choice.model == "look" and "runs on the CPU" in choice.reason
    gpu(10.0)
    assert choose_model(DEFAULTS, HD) == Choice(
        "wmnet-deep",
        "The model is wmnet-deep: cuda renders 10 frames a second with wmnet-deep at 1920x1080.",
    )
    gpu(9.99)
    slow = choose_model(DEFAULTS, HD)
    assert slow.model == "look" and "9.99 frames a second" in slow.reason
    gpu({"wmnet-deep": 9.0, "wmnet-fast": 40.0})
    assert choose_model(DEFAULTS, HD).model == "wmnet-fast"
    gpu(torch.OutOfMemoryError("CUDA out of memory"))
    small = choose_model(DEFAULTS, HD)
    assert small.model == "look" and "memory of cuda does not hold" in small.reason
    gpu(RuntimeError("an illegal instruction"))
    with pytest.raises(RuntimeError, match="illegal"):
        choose_model(DEFAULTS, HD)


def test_a_named_model_and_the_model_of_named_weights_need_no_reason(
    gpu: Callable[[Any], None], weights: str
) -> None:
    gpu(AssertionError("measured for nothing"))
    assert choose_model(Options(model="kpnet"), HD) == Choice("kpnet")
    assert choose_model(Options(weights="didnet-tiny"), HD).model == "didnet-tiny"
    assert choose_model(Options(weights=weights), HD) == Choice("hdrvdiff")
    with pytest.raises(ModelError, match=r"neither a \.safetensors file nor a known weight"):
        choose_model(Options(weights="nothing"), HD)


def test_the_speed_is_that_of_whole_windows() -> None:
    assert frames_per_second("bt2408", (64, 48), Options(device="cpu")) > 0


def test_the_choice_is_told_at_once_and_stands_in_report_and_plan(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", size=(96, 64), frames=9)
    out, seen = tmp_path / "out.mkv", list[Progress]()
    options = DEFAULTS.changed(device="cpu", preset="ultrafast", keep_work=True)
    report = convert(clip, out, options=options, progress=seen.append)
    assert report.model == "look" and report.notes[0] == seen[0].note
    assert "The model is look" in seen[0].note
    work = Work(folder_for(out))
    plan = work.read_plan()
    assert plan is not None and plan.settings.chosen == seen[0].note
    named = convert(clip, out, "look", options=options, overwrite=True)  # the same frames
    assert named.resumed_chunks == named.chunks


def test_an_interrupted_film_keeps_its_model_on_its_device(
    gpu: Callable[[Any], None], tmp_path: Path
) -> None:
    plan = plan_of(frames=8)
    chosen = replace(plan.settings, model="look", device="cuda", chosen="The model is look: slow.")
    gpu(100.0)
    assert choose_model(DEFAULTS, HD, replace(plan, settings=chosen)) == Choice(
        "look", "The model is look: slow."
    )
    for other in (replace(chosen, chosen=""), replace(chosen, device="cuda:1")):
        assert choose_model(DEFAULTS, HD, replace(plan, settings=other)).model == "wmnet-deep"


def test_the_forecast_comes_once_after_the_first_chunk_of_this_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("sdr2hdr.jobs.progress.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("sdr2hdr.jobs.progress.seconds_compiling", lambda: 0.0)
    seen: list[Progress] = []
    plan = plan_of(frames=64, chunk=16)
    tick = Ticker(plan, [0], seen.append)  # a chunk of an earlier run
    for _ in range(48):
        tick(1)
    notes = [(p.done, p.note) for p in seen if p.note]
    # a frame a second: 32 frames are done, 32 are left
    assert notes == [(32, "The film takes about 32 s from here, at 1 frames a second.")]
    seen.clear()
    monkeypatch.setattr("sdr2hdr.jobs.progress.seconds_compiling", lambda: 21.4)
    tick = Ticker(plan_of(frames=16, chunk=16), [], seen.append)
    for _ in range(16):
        tick(1)
    # nothing is left to foretell
    assert [p.note for p in seen if p.note] == [
        "Kernels were compiled for this machine, once, in 21 s."
    ]
