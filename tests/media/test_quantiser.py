"""The QP of a film, as its packets' headers say it."""

import subprocess
from csv import DictReader
from pathlib import Path
from statistics import fmean, median

import av
import av.logging
import pytest
import torch
from judges import need

from sdr2hdr.errors import UsageError
from sdr2hdr.jobs.plan import scene_qps, survey
from sdr2hdr.jobs.reading import open_source
from sdr2hdr.media.quantiser import Quantisers, _Headers
from sdr2hdr.media.source import Source
from sdr2hdr.models import registry
from sdr2hdr.options import Options
from sdr2hdr.render.renderer import Renderer, Run
from sdr2hdr.weights.opened import open_model

FRAMES = 30
EXAMPLE = Path(__file__).parents[2] / "examples" / "tears_of_steel.webm"


def film(path: Path, *options: str, picture: str = "testsrc2=s=192x128:r=25:d=1.2") -> Path:
    command = [need("ffmpeg"), "-v", "error", "-y", "-f", "lavfi", "-i", picture]
    subprocess.run([*command, "-pix_fmt", "yuv420p", "-c:v", *options, path], check=True)
    return path


def qps(path: Path) -> list[float]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        found = Quantisers()
        packets = (packet for packet in container.demux(stream) if packet.size)
        assert sum(1 for _ in found.watched(packets, stream)) >= FRAMES // 2
    return list(found.qps.values())


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    "codec",
    [
        "libx264 -qp 31 -x264-params keyint=5:ipratio=1:bframes=0",
        "libx265 -x265-params qp=31:keyint=5:ipratio=1:bframes=0:log-level=none",
    ],
)
def test_a_constant_qp_is_read_in_every_container(tmp_path: Path, codec: str, ending: str) -> None:
    found = qps(film(tmp_path / f"film{ending}", *codec.split()))
    assert found == [31.0] * (FRAMES // 5)


@pytest.mark.parametrize("crf", [22, 30])
def test_blocks_of_a_film_are_below_the_headers_of_x265(tmp_path: Path, crf: int) -> None:
    """x265 itself says what the mean QP of a picture's blocks is."""
    csv, path = tmp_path / "x265.csv", tmp_path / "film.mkv"
    options = f"crf={crf}:csv={csv}:csv-log-level=1:log-level=none"
    subprocess.run(
        [
            need("ffmpeg"), "-v", "error", "-i", EXAMPLE, "-frames:v", str(FRAMES), "-an",
            "-pix_fmt", "yuv420p", "-c:v", "libx265", "-x265-params", options, path,
        ],
        check=True,
    )  # fmt: skip
    rows = list(DictReader(csv.read_text().splitlines(), skipinitialspace=True))
    said = [float(row["QP"]) for row in rows if row["QP"] and row["POC"].strip().isdigit()]
    assert len(said) == FRAMES
    assert median(qps(path)) == pytest.approx(median(said), abs=2.5)


def test_mpeg2_counts_steps_and_h264_what_doubles_them(tmp_path: Path) -> None:
    """A quantiser of 8 is a step of 16 codes, and 24 QPs above 4, where the step is 1, it has doubled four times."""
    assert set(qps(film(tmp_path / "a.mkv", "mpeg2video", "-q:v", "8"))) == {28.0}
    assert set(qps(film(tmp_path / "b.mkv", "mpeg2video", "-q:v", "16"))) == {34.0}


@pytest.mark.parametrize(
    "codec",
    ["libvpx-vp9 -b:v 0 -speed 8 -crf", "libsvtav1 -preset 12 -qp"],
)
def test_stronger_compression_is_a_higher_qp(tmp_path: Path, codec: str) -> None:
    name, *options = codec.split()
    low, high = (fmean(qps(film(tmp_path / f"{q}.mkv", name, *options, q))) for q in ("15", "55"))
    assert 0 < low < 25 < 35 < high <= 51


def test_the_highest_index_of_av1_is_a_step_of_1828_eighths(tmp_path: Path) -> None:
    found = qps(
        film(
            tmp_path / "a.mkv",
            "libvpx-vp9",
            "-b:v",
            "0",
            "-crf",
            "63",
            "-qmin",
            "63",
            "-qmax",
            "63",
        )
    )
    assert max(found) == pytest.approx(51, abs=0.05)  # H.264's highest: a step of 224 codes


@pytest.mark.parametrize("codec", ["mpeg4 -q:v 8", "ffv1", "mjpeg", "libx264 -qp 0", "prores_ks"])
def test_codecs_that_do_not_say_it_or_lose_nothing_have_none(tmp_path: Path, codec: str) -> None:
    assert (
        qps(
            film(
                tmp_path / "film.mov" if "prores" in codec else tmp_path / "film.mkv",
                *codec.split(),
            )
        )
        == []
    )


def test_damaged_packets_have_none_and_nothing_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = film(tmp_path / "film.ts", "libx264", "-qp", "31", "-x264-params", "keyint=10")
    data = bytearray(path.read_bytes())
    for at in range(3000, len(data) - 200, 2000):
        data[at : at + 60] = bytes(60)
    path.write_bytes(data)
    before = av.logging.get_level()
    found = survey(Source(path), "none", lambda _done, _total: None)
    assert found.pts and all(0 < qp <= 51 for qp in found.qps)
    assert av.logging.get_level() == before
    assert capfd.readouterr() == ("", "")


def test_a_user_knows_better(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", "ffv1")
    assert survey(Source(path), "none", lambda _done, _total: None).qps == ()
    source = open_source(path, Options(source_qp=37))
    assert survey(source, "none", lambda _done, _total: None).qps == (37.0,)
    with pytest.raises(UsageError, match="QP of the source"):
        Options(source_qp=52)


def test_data_in_the_picture_does_not_fill_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "086f3693-b7b3-4f2c-9653-21492feee5b8+" + 50_000 * "x"
    path = film(
        tmp_path / "film.ts", "libx264", "-qp", "31", "-x264-params", "keyint=5:ipratio=1:bframes=0",
        "-bsf:v", f"h264_metadata=sei_user_data={text}",
    )  # fmt: skip
    counts = []
    read = _Headers._read

    def counted(self: _Headers, lines: list[tuple[int, str, str]]) -> None:
        counts.append(len(lines))
        read(self, lines)

    monkeypatch.setattr(_Headers, "_read", counted)
    assert qps(path) == [31.0] * (FRAMES // 5)
    assert max(counts) < 1000


def two_scenes(path: Path) -> Path:
    """A still of bars, then moving noise; QP 20, and from two frames before the noise on 40."""
    subprocess.run(
        [
            need("ffmpeg"), "-v", "error", "-y",
            "-f", "lavfi", "-i", "smptebars=s=192x128:r=25:d=1",
            "-f", "lavfi", "-i", "testsrc2=s=192x128:r=25:d=1",
            "-filter_complex", "concat=n=2:v=1:a=0", "-pix_fmt", "yuv420p", "-c:v", "libx264",
            "-x264-params", "zones=0,22,q=20/23,49,q=40:ipratio=1:pbratio=1:mbtree=0:aq-mode=0", path,
        ],
        check=True,
    )  # fmt: skip
    return path


def test_each_scene_has_its_own(tmp_path: Path) -> None:
    source = Source(two_scenes(tmp_path / "film.mp4"))
    found = survey(source, "auto", lambda _done, _total: None)
    assert found.cuts == (25,)
    assert found.qps == pytest.approx((20, 40), abs=2)
    assert [found.qp(0), found.qp(25)] == list(found.qps)
    (whole,) = survey(source, "none", lambda _done, _total: None).qps
    assert 20 <= whole <= 40
    # read from the middle on, as a preview does, it is the same
    *_, _last = source.pictures(found.pts[30], qps=True)
    (later,) = scene_qps({a: q for a, q in source.qps.items() if a >= found.pts[25]}, found.pts, ())
    assert later == found.qps[1]


def test_a_network_does_less_to_a_film_that_was_compressed_little() -> None:
    loaded = open_model("didnet-tiny")
    frames = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.2

    def rendered(qp: float | None) -> torch.Tensor:
        renderer = Renderer(loaded.model, loaded.spec, (64, 64), device="cpu")
        look = renderer.model.read_look(torch.full((1, 3, 64, 64), 0.4), torch.tensor([2.5]))[0]
        return torch.stack(
            list(renderer.run(iter(frames), Run(0, 5, 0, 5, qp), renderer.new_states(look)))
        )

    untouched, little, unknown, much = map(rendered, (1.0, 15.0, None, 45.0))
    changes = [float((each - untouched).abs().mean()) for each in (little, unknown, much)]
    assert changes == sorted(changes)
    assert changes[0] < 0.1 * changes[2]


@pytest.mark.parametrize("config", [{"qp": True}, {"qp": True, "channels": 16}])
def test_what_is_told_changes_what_a_trained_network_does(config: dict[str, object]) -> None:
    net = registry.build("wmnet-fast", config).train()
    net.initialise()
    torch.manual_seed(3)
    for p in net.own_modules():
        if isinstance(p, torch.nn.Linear | torch.nn.Conv2d):
            torch.nn.init.normal_(p.weight, std=0.1)
    frames = torch.rand(2, 3, 3, 32, 32)
    with torch.no_grad():
        unknown = net.restored_frames(frames, range(1, 2))  # type: ignore[operator]
        nan = net.restored_frames(frames, range(1, 2), torch.full((2,), torch.nan))  # type: ignore[operator]
        mixed = net.restored_frames(frames, range(1, 2), torch.tensor([torch.nan, 40.0]))  # type: ignore[operator]
    assert torch.equal(unknown, nan)
    assert torch.equal(mixed[0], unknown[0])
    assert not torch.allclose(mixed[1], unknown[1], atol=1e-3)
