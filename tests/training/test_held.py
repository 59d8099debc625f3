"""KPNet's table 3: pictures made again of its features."""

from pathlib import Path

import pytest
import torch
from frame_makers import write_pairs

from sdr2hdr.data.footage import PairedMaker
from sdr2hdr.data.store import make_clips
from sdr2hdr.errors import InputError
from sdr2hdr.models import registry
from sdr2hdr.models.kpnet.network import KPNet
from sdr2hdr.training.held import held


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = write_pairs(tmp_path / "set", "sdr", "hdr", ["1", "2"], (32, 32))
    maker = PairedMaker(folder, "train", size=(32, 32), frames=1, exact=True)
    make_clips(maker, tmp_path / "clips/train", range(2))
    return tmp_path / "clips"


def test_features_come_to_give_back_the_picture_and_the_network_stays(clips: Path) -> None:
    torch.manual_seed(0)
    net = registry.build("kpnet", {"form": "published", "channels": 16})
    assert isinstance(net, KPNet)
    before = {k: t.clone() for k, t in net.state_dict().items()}
    rows = list(held(net, clips, (1, 60), batch=2, patch=32))
    assert [step for step, _ in rows] == [1, 60]
    assert len(rows[0][1]) == 3 and all(
        b < 0.5 * a for a, b in zip(*(e for _, e in rows), strict=True)
    )
    assert all(torch.equal(t, before[k]) for k, t in net.state_dict().items())


def test_one_size_alone_is_refused(clips: Path) -> None:
    light = registry.build("kpnet-light", "published")
    assert isinstance(light, KPNet)
    with pytest.raises(InputError, match="one size alone"):
        next(held(light, clips))
