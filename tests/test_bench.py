"""The speed of this machine: what the command says, not how fast it is."""

import json

import pytest
import torch

from sdr2hdr import bench
from sdr2hdr.cli.main import main
from sdr2hdr.models import registry
from sdr2hdr.options import Options
from sdr2hdr.render.renderer import Renderer, Run


def test_a_measurement_has_every_stage_and_agrees_with_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(bench.SIZES, "540p", (128, 72))
    monkeypatch.setattr(
        bench, "_apart", lambda work, *args: work(*args)
    )  # a new process would not know the size
    assert (
        main(["bench", "--models", "bt2408,look", "--sizes", "540p", "--frames", "3", "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["torch"] == torch.__version__ and found["peak"]["operations"] > 0
    assert [m["model"] for m in found["measured"]] == ["bt2408", "look"]
    for m in found["measured"]:
        assert list(m["stages"]) == [
            "decode", "colour in", "model", "colour out", "render", "encode",
        ]  # fmt: skip
        assert min(m["stages"].values()) > 0 and 0 < m["share"] <= 1
        assert m["film_hours"] * 3600 * m["frames_per_second"] == pytest.approx(172_800)


def test_operations_are_those_of_the_fused_and_of_the_plain_convolutions() -> None:
    """What the counter sees in a run must be what it sees where nothing is fused."""
    from torch.utils.flop_counter import FlopCounterMode

    model = registry.build("wmnet", {"channels": 16, "blocks": 3})
    renderer = Renderer(model, registry.spec("wmnet"), (64, 64), device="cpu", precision="float32")
    frames = torch.rand(3, 3, 64, 64)
    with FlopCounterMode(display=False, custom_mapping=bench._fused_operations()) as fused:
        list(renderer.run(iter(frames), Run(0, 3, 0, 3), renderer.new_states()))
    thumbs = torch.rand(1, 3, 3, 64, 64)
    with FlopCounterMode(display=False) as plain:  # gradients keep convolutions from being fused
        told = torch.tensor([2.5])
        model(frames[None], model.new_state((64, 64)), thumbs=thumbs, brightness=told)
    assert fused.get_total_flops() == pytest.approx(plain.get_total_flops(), rel=0.05)


def test_the_peak_is_a_rate_of_this_device() -> None:
    found = bench.peak_of("cpu", edge=64, seconds=0.0)  # a busy machine may not get further
    assert found.device == "cpu" and 0 < found.operations < 1e15


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--sizes", "480p"], 2, "540p, 1080p, 2160p"),
        (["--models", "wmnett"], 5, "wmnett"),
        (["--models", " ,"], 2, "name at least one"),
        (["--frames", "0"], 2, "0"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == code
    assert said in capsys.readouterr().err


def test_options_reach_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.SIZES, "540p", (128, 72))
    found = bench.measure(
        "bt2446a", "540p", 2, Options(device="cpu", precision="float32", preset="ultrafast"), 1e12
    )
    assert (found.device, found.precision, found.frames, found.gpu_memory) == (
        "cpu",
        "float32",
        2,
        None,
    )
