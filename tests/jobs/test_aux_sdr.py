"""The restored SDR picture beside the HDR one: a file of its own, with the same frames at the same times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from judges import ffprobe
from media_makers import Planes, make_clip, plane_shapes

import sdr2hdr.jobs.workers as jobs_workers
from sdr2hdr import convert
from sdr2hdr.errors import Interrupted, ModelError, OutputError
from sdr2hdr.jobs.chunk import ChunkRenderer
from sdr2hdr.models import registry
from sdr2hdr.weights.save import save_weights

SIZE = (64, 64)
SMALL = {"channels": 8, "offset_channels": 4}


def picture(index: int) -> Planes:
    """A drifting, tinted texture: every colour of it is one of BT.709, so that R'G'B' and back loses nothing."""
    rng = np.random.default_rng(0)
    (height, width), chroma, _ = plane_shapes("yuv420p", SIZE)
    texture = np.kron(rng.uniform(75, 180, (height // 4, width // 4)), np.ones((4, 4)))
    planes = [np.roll(texture, index, axis=1), np.full(chroma, 102), np.full(chroma, 156)]
    return [p.round().astype(np.uint8) for p in planes]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "clip.mkv"
    return make_clip(
        path, size=SIZE, frames=16, picture=picture, options={"crf": "4"}, audio=["aac"]
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network that restores every frame to itself, so that the file written can be held against its source."""
    torch.manual_seed(0)
    model = registry.build("didnet", SMALL)
    torch.nn.init.zeros_(model.restore.weight)
    torch.nn.init.zeros_(model.restore.bias)
    path = tmp_path_factory.mktemp("weights") / "identity.safetensors"
    save_weights(path, "didnet", model.state_dict(), SMALL)
    return str(path)


def options(weights: str) -> dict[str, object]:
    return {
        "model": "didnet",
        "weights": weights,
        "preset": "ultrafast",
        "crf": 2.0,
        "chunk_frames": 4,
        "scenes": "none",
    }


def pictures(path: Path, form: str) -> np.ndarray:
    with av.open(str(path)) as f:
        return np.stack(
            [
                frame.to_ndarray(format=form).astype(np.float64) / 65535
                for frame in f.decode(video=0)
            ]
        )


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as f:
        stream = f.streams.video[0]
        return sorted(
            p.pts * stream.time_base for p in f.demux(stream) if p.pts is not None and p.size
        )


@pytest.mark.parametrize("container", ["mkv", "mp4"])
@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_it_is_sdr_with_the_sources_times_and_picture(
    clip: Path, weights: str, tmp_path: Path, container: str, codec: str
) -> None:
    out, aux = tmp_path / "out.mkv", tmp_path / f"restored.{container}"
    given = options(weights) | {"codec": codec, "preset": {"hevc": "ultrafast", "av1": "12"}[codec]}
    report = convert(clip, out, aux_sdr=aux, **given)
    assert report.aux_sdr == aux
    found = ffprobe(aux, "-show_streams", "-show_frames", "-select_streams", "v")
    video = found["streams"][0]
    tags = [
        video[k]
        for k in ("color_primaries", "color_transfer", "color_space", "color_range", "pix_fmt")
    ]
    assert tags == ["bt709", "bt709", "bt709", "tv", "yuv420p10le"]
    kinds = {
        d["side_data_type"]
        for d in [*video.get("side_data_list", []), *found["frames"][0].get("side_data_list", [])]
    }
    assert not any("Mastering" in k or "Content light" in k for k in kinds)
    assert [round(t * 1000) for t in times(aux)] == [round(t * 1000) for t in times(clip)]
    assert (
        ffprobe(aux, "-show_streams", "-select_streams", "a")["streams"][0]["codec_name"] == "aac"
    )
    # places by their light; colours by the picture's mean, which does not depend on where chroma samples lie
    assert np.abs(pictures(clip, "gray16le") - pictures(aux, "gray16le")).mean() < 0.01
    one, other = (pictures(path, "rgb48le").mean(axis=(1, 2)) for path in (clip, aux))
    np.testing.assert_allclose(one, other, atol=0.01)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([out.name, aux.name])


def test_a_stopped_run_goes_on_to_the_same_two_files(
    clip: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, aux = tmp_path / "straight.mkv", tmp_path / "straight-sdr.mkv"
    convert(clip, straight, aux_sdr=aux, **options(weights))
    out, restored = tmp_path / "out.mkv", tmp_path / "out-sdr.mkv"

    class Stopped(ChunkRenderer):
        def render(self, index: int, tick: object) -> None:
            if index == 1:
                raise KeyboardInterrupt
            super().render(index, tick)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(jobs_workers, "ChunkRenderer", Stopped)
        with pytest.raises(Interrupted):
            convert(clip, out, aux_sdr=restored, **options(weights))
    assert not out.exists() and not restored.exists()
    # what was rendered of the SDR picture is lost: that chunk is rendered again
    next((tmp_path / ".out.mkv.sdr2hdr-work").glob("*-00000-aux.packets")).unlink()
    assert convert(clip, out, aux_sdr=restored, **options(weights)).resumed_chunks == 0
    assert restored.read_bytes() == aux.read_bytes()
    assert out.read_bytes() == straight.read_bytes()


def test_without_it_the_hdr_file_is_the_same(clip: Path, weights: str, tmp_path: Path) -> None:
    convert(clip, tmp_path / "with.mkv", aux_sdr=tmp_path / "sdr.mkv", **options(weights))
    convert(clip, tmp_path / "without.mkv", **options(weights))
    assert (tmp_path / "with.mkv").read_bytes() == (tmp_path / "without.mkv").read_bytes()


def test_what_cannot_be_is_said_before_any_work(clip: Path, weights: str, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    with pytest.raises(
        ModelError, match=r"bt2446a restores no SDR picture.*didnet, didnet-tiny\.$"
    ):
        convert(clip, out, "bt2446a", aux_sdr=tmp_path / "sdr.mkv")
    for aux, reason in (
        (out, "both"),
        (clip, "source itself"),
        (tmp_path / "sdr.avi", "no container"),
    ):
        with pytest.raises(OutputError, match=reason):
            convert(clip, out, aux_sdr=aux, **options(weights))
    (tmp_path / "there.mkv").write_bytes(b"kept")
    with pytest.raises(OutputError, match=r"there\.mkv exists"):
        convert(clip, out, aux_sdr=tmp_path / "there.mkv", **options(weights))
    assert (tmp_path / "there.mkv").read_bytes() == b"kept"
    assert not out.exists()
