"""Light in clipped areas: what models show there, and the weights of the filter that distributes it.

    python -m benchmarks.clipped CLIPS [--models look,wmnet-fast,wmnet-deep,wmnet,didnet]
    python -m benchmarks.clipped CLIPS --fit
    python -m benchmarks.clipped CLIPS --curve

CLIPS is a folder of clips that `sdr2hdr train` made (RUN/clips), with `train` and `select` in it. Measured is the middle frame of
the select clips that have clipped areas of 50 pixels or more. Correlation, deviation and error of the mean are those of
`sdr2hdr/metrics/repair.py`; PSNR inside is that of the mean square over areas. Change is the mean change from one frame to the
next of those of an area's pixels that are clipped in all frames, in PQ codes of 1023. The chart, which is in both sets, is left
out of select.

With ``--fit`` the weights of `sdr2hdr/color/clipped.py` are fitted to the areas of the training clips: for 1 minus the
correlation and the MSE, with the mean over all areas held at the look's. Tables are by the strength of what is added: of the
scenes that each of four fits left out, and of select. With ``--curve`` both the filter and a network of two layers that sees
the same maps are fitted to few scenes and to more: a learning curve over scenes. A second table has the error of the mean, as a
share of the look's, if a line or a network shifts each area by what its maps, its codes and the look's numbers say of it.
"""

import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.command import parser
from benchmarks.which import BASE, converted
from sdr2hdr.color.clipped import OFFSET, RANGE, WEIGHTS, averaged, points, share
from sdr2hdr.data.clips import Clip
from sdr2hdr.data.footage import scene_of
from sdr2hdr.data.store import clip_paths, read_clip
from sdr2hdr.errors import Sdr2HdrError
from sdr2hdr.metrics.basic import psnr
from sdr2hdr.metrics.filters import luma
from sdr2hdr.metrics.repair import CLIPPED, LEAST, areas, inside
from sdr2hdr.models.inputs import thumbnail
from sdr2hdr.models.look import tone
from sdr2hdr.models.look.network import Look
from sdr2hdr.weights.opened import open_model

MODELS = "look,wmnet-fast,wmnet-deep,wmnet,didnet"
BOTH = "chart"
"""The scene that is in train and in select."""
FOLDS = 4
PIXELS = 96
"""Pixels of an area that a fit sees: random ones, over again in a smaller area."""
MSE, SHIFT, RIDGE = 100.0, 3e3, 1e-3
"""What counts besides 1 minus the correlation: the MSE, the square of the shift of all areas' mean, and of the weights."""
STEP = 0.03
"""The deviation of what is added, for a weight of 1 of a map that is white noise."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
CHOSEN = 0.5
"""The strength of the weights that are printed, and that the converter has: PSNR on select is highest there."""

SCENES = (3, 6, 12, 24, 48)
"""How many scenes the points of the learning curve see; the last one sees all that are not left out."""
UNITS, STEPS, RATE = 32, 200, 3e-3
"""The network's units in each of two layers, and how it is fitted (Adam)."""


def with_areas(folder: Path) -> Iterator[tuple[Clip, Tensor, list[Tensor]]]:
    """The clips of a folder that have clipped areas, the SDR of their middle frame, and the areas."""
    for path in clip_paths(folder):
        clip = read_clip(path)
        at = clip.codes.shape[0] // 2
        sdr = clip.sdr(slice(at, at + 1))[0]
        mask = sdr.amax(0) >= CLIPPED
        if int(mask.sum()) >= LEAST and (found := areas(mask)):
            yield clip, sdr, found


def measured(folder: Path, names: list[str]) -> str:
    """A row for each model, and one for the truth."""
    models = {name: open_model(name) for name in names}
    figures: dict[str, list[Tensor]] = {name: [] for name in (*names, "the truth")}
    whole: dict[str, list[float]] = {name: [] for name in names}
    for clip, sdr, found in with_areas(folder):
        if clip.scene == BOTH:
            continue
        truth, at = clip.hdr(), clip.codes.shape[0] // 2
        always = (clip.sdr().amax(1) >= CLIPPED).all(0)
        pictures = {name: converted(loaded, clip)[0] for name, loaded in models.items()}
        for name, codes in (*pictures.items(), ("the truth", truth)):
            shown, there, seen = luma(codes), luma(truth[at]), luma(sdr)
            change = 1023 * shown.diff(dim=0).abs().mean(0)
            for area in found:
                told = inside(shown[at][area][None], there[area][None], seen[area][None])
                figures[name].append(torch.cat([*told, change[area & always].mean()[None]]))
        for name, codes in pictures.items():
            whole[name].append(psnr(codes[at], truth[at]))
    lines = [
        f"| {len(figures['the truth'])} areas in {len(whole[names[0]])} frames | correlation | deviation | error of the mean"
        " | PSNR inside | change | PSNR of frames |",
        "|---" * 7 + "|",
    ]
    for name, rows in figures.items():
        lines.append(f"| {name} | {_cells(torch.stack(rows))}")
        lines[-1] += f" {sum(whole[name]) / len(whole[name]):.2f} |" if name in whole else " |"
    return "\n".join(lines)


def _cells(rows: Tensor) -> str:
    """Cells of the figures of :func:`inside`, ``A,4``, or with the change as well, ``A,5``."""
    correlation, std, error, mse, *change = rows.nanmean(0).tolist()
    decibel = -10 * torch.tensor(mse).log10()
    cells = [f"{correlation:.3f}", f"{std:.4f}", f"{error:.4f}"]
    cells += [f"{decibel:.2f}" if mse else "", *(f"{c:.2f}" for c in change)]
    return " | ".join(cells) + " |"


class Areas(NamedTuple):
    """Pixels of clipped areas: the filter's maps less 1 ``A,8,N``, SDR codes ``A,3,N``, how much of the filter counts ``A,N``,
    the master's luma ``A,N``, the look's numbers ``A,18``, and the scene ``A``, as a number made of its name."""

    maps: Tensor
    codes: Tensor
    share: Tensor
    truth: Tensor
    look: Tensor
    scene: Tensor

    @property
    def fold(self) -> Tensor:
        return self.scene % FOLDS

    def part(self, which: Tensor) -> "Areas":
        """Some of the areas."""
        return Areas(*(x[which] for x in self))

    def shown(self, added: Tensor, strength: float = 1.0) -> Tensor:
        """The luma ``A,N`` of what the look makes of the codes with ``A,N`` added to their factor, by its strength."""
        within = added.clamp(RANGE[0] / CHOSEN, RANGE[1] / CHOSEN)
        codes = self.codes * (1 + strength * self.share * within)[:, None]
        return luma(tone.mapped(codes[:, :, None], self.look))[:, 0]

    def figures(self, shown: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The figures ``A`` of :func:`sdr2hdr.metrics.repair.inside` for luma ``A,N``."""
        return inside(shown, self.truth, luma(self.codes[:, :, None])[:, 0])


@torch.no_grad()
def gathered(folder: Path, look: Look, *, chart: bool) -> Areas:
    """The areas of a folder's clips; without ``chart`` those of the scene that is in both sets are left out."""
    random = torch.Generator().manual_seed(0)
    rows: list[list[Tensor]] = []
    for clip, sdr, found in with_areas(folder):
        if clip.scene == BOTH and not chart:
            continue
        at = clip.codes.shape[0] // 2
        maps = torch.cat([averaged(x, reach) for reach, x in points(sdr[None]).items()], 1)[0] - 1
        thumb, told = thumbnail(sdr[None, None], 64)[:, 0], torch.tensor([clip.brightness])
        numbers = look.read_look(thumb, told)[0]
        there = luma(clip.hdr(slice(at, at + 1))[0])
        scene = torch.tensor(zlib.crc32(scene_of(clip.scene).encode()))
        counts = share(sdr[None])[0, 0]
        for area in found:
            pixels = area.nonzero()
            order = torch.randperm(len(pixels), generator=random)
            y, x = pixels[order.repeat(-(-PIXELS // len(pixels)))[:PIXELS]].unbind(1)
            rows.append([maps[:, y, x], sdr[:, y, x], counts[y, x], there[y, x], numbers, scene])
    return Areas(*(torch.stack(column) for column in zip(*rows, strict=True)))


def both(folder: Path) -> tuple[Areas, Areas]:
    """The areas of the training clips and those of select, without the chart."""
    look = open_model(BASE).model
    assert isinstance(look, Look)
    train = gathered(folder / "train", look, chart=True)
    return train, gathered(folder / "select", look, chart=False)


def fitted(areas: Areas) -> tuple[Tensor, Tensor]:
    """The weights ``8`` of the maps and the offset."""
    count = areas.share.sum()
    middle = (areas.maps * areas.share[:, None]).sum((0, 2)) / count
    apart = areas.maps - middle[:, None]
    spread = torch.einsum("akn,aln,an->kl", apart, apart, areas.share) / count
    power, axes = torch.linalg.eigh(spread + 1e-6 * torch.eye(len(spread)))
    whitened = STEP * axes / power.sqrt()  # so that the search does not follow a narrow valley
    numbers = torch.zeros(len(spread) + 1, requires_grad=True)
    missed = aim(areas)
    search = torch.optim.LBFGS(
        [numbers], max_iter=100, history_size=20, line_search_fn="strong_wolfe"
    )

    def weights() -> tuple[Tensor, Tensor]:
        each = whitened @ numbers[:-1]
        return each, STEP * numbers[-1] - each @ middle

    def loss() -> Tensor:
        search.zero_grad()
        found = missed(added(areas, *weights())) + RIDGE * numbers.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    search.step(loss)  # type: ignore[no-untyped-call]
    each, offset = weights()
    return each.detach(), offset.detach()


def aim(areas: Areas) -> Callable[[Tensor], Tensor]:
    """What a fit makes small: it takes what is added to the factor, ``A,N``."""
    held = areas.shown(torch.zeros_like(areas.share)).mean()

    def missed(found: Tensor) -> Tensor:
        shown = areas.shown(found)
        correlation, _, _, mse = areas.figures(shown)
        shift = (shown.mean() - held).square()
        return 1 - correlation.mean() + MSE * mse.mean() + SHIFT * shift

    return missed


def learnt(areas: Areas) -> Callable[[Areas], Tensor]:
    """A network in the filter's place: it gives what is added to the factor of areas, ``A,N``."""
    torch.manual_seed(0)
    count = areas.maps.shape[1]
    net = nn.Sequential(
        nn.BatchNorm1d(count, affine=False),  # the maps differ a thousandfold in size
        nn.Conv1d(count, UNITS, 1),
        nn.Tanh(),
        nn.Conv1d(UNITS, UNITS, 1),
        nn.Tanh(),
        nn.Conv1d(UNITS, 1, 1),
    )
    last = net[-1]
    assert isinstance(last, nn.Conv1d) and last.bias is not None
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    missed, search = aim(areas), torch.optim.Adam(net.parameters(), RATE)

    def found(areas: Areas) -> Tensor:
        factor: Tensor = STEP * net(areas.maps)[:, 0]
        return factor

    for _ in range(STEPS):
        search.zero_grad()
        missed(found(areas)).backward()  # type: ignore[no-untyped-call]
        search.step()
    net.eval()
    return found


def seen(areas: Areas) -> Tensor:
    """What is known of each area: its maps' means and deviations, its mean codes, and the look's numbers, ``A,37``."""
    return torch.cat(
        [areas.maps.mean(2), areas.maps.std(2), areas.codes.mean(2), areas.look], dim=1
    )


def lacking(areas: Areas) -> Tensor:
    """By how much the look is too dark in the mean of each area, ``A``, in PQ codes 0..1."""
    shown: Tensor = areas.shown(torch.zeros_like(areas.share)).mean(1)
    return areas.truth.mean(1) - shown


def levelled(areas: Areas) -> list[Callable[[Areas], Tensor]]:
    """What an area lacks by a line (a ridge regression), and by a network of two layers that is fitted to the absolute error."""
    known, lacks = seen(areas), lacking(areas)
    middle, spread = known.mean(0), known.std(0) + 1e-6
    scaled = (known - middle) / spread
    square = scaled.T @ scaled / len(scaled) + torch.eye(scaled.shape[1])
    slopes = torch.linalg.solve(square, scaled.T @ (lacks - lacks.mean()) / len(scaled))
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(scaled.shape[1], UNITS),
        nn.Tanh(),
        nn.Linear(UNITS, UNITS),
        nn.Tanh(),
        nn.Linear(UNITS, 1),
    )
    search = torch.optim.Adam(net.parameters(), RATE)
    for _ in range(STEPS):
        search.zero_grad()
        missed = (net(scaled)[:, 0] - lacks / STEP).abs().mean()
        missed.backward()
        search.step()

    def by_line(areas: Areas) -> Tensor:
        found: Tensor = (seen(areas) - middle) / spread @ slopes + lacks.mean()
        return found

    @torch.no_grad()
    def by_network(areas: Areas) -> Tensor:
        found: Tensor = STEP * net((seen(areas) - middle) / spread)[:, 0]
        return found

    return [by_line, by_network]


def told(areas: Areas) -> str:
    """What is left of the error of the mean if every frame's own best shift were known, of frames with several areas."""
    _, frame, count = torch.unique(areas.look, dim=0, return_inverse=True, return_counts=True)
    several, lacks = count[frame] > 1, lacking(areas)
    best = torch.stack([lacks[frame == number].median() for number in range(len(count))])
    left = (lacks - best[frame])[several].abs().mean() / lacks[several].abs().mean()
    return f"{float(left):.3f} ({int(several.sum())} areas)"


def few(areas: Areas, fold: int, most: int) -> tuple[Areas, Areas]:
    """The areas of at most so many scenes outside a fold, and those of the fold."""
    others = areas.part(areas.fold != fold)
    names = torch.unique(others.scene)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(fold))
    return others.part(torch.isin(others.scene, names[order[:most]])), areas.part(
        areas.fold == fold
    )


def curve(folder: Path) -> str:
    """Correlations at the full strength and errors of the mean, by how many scenes a fit saw: the mean of four fits, and over the
    scenes that each left out."""
    train, select = both(folder)
    columns = "filter, on these | left out | select | network, on these | left out | select |"
    head = [f"| scenes | areas | {columns}", "|---" * 8 + "|"]
    correlations, errors = list(head), [line.replace("filter", "line") for line in head]

    def correlation(areas: Areas, found: Tensor) -> Tensor:
        return areas.figures(areas.shown(found))[0].nanmean()

    def error(areas: Areas, found: Tensor) -> Tensor:
        lacks = lacking(areas)
        return (lacks - found).abs().mean() / lacks.abs().mean()

    for most in SCENES:
        light, means = [], []
        for fold in range(FOLDS):
            these, apart = few(train, fold, most)
            sets, (weights, network) = (these, apart, select), (fitted(these), learnt(these))
            with torch.no_grad():
                row = [correlation(x, added(x, *weights)) for x in sets]
                row += [correlation(x, network(x)) for x in sets]
            counts = [torch.tensor(len(torch.unique(these.scene))), torch.tensor(len(these.scene))]
            light.append(torch.stack([*counts, *row]))
            means.append(
                torch.stack([*counts, *(error(x, f(x)) for f in levelled(these) for x in sets)])
            )
        for lines, rows in ((correlations, light), (errors, means)):
            scenes, count, *found = torch.stack(rows).mean(0).tolist()
            cells = " | ".join(f"{x:.3f}" for x in found)
            lines.append(f"| {scenes:.0f} | {count:.0f} | {cells} |")
    best = f"With each frame's own best shift: {told(train)}; select {told(select)}."
    return "\n".join([*correlations, "", *errors, "", best])


def added(areas: Areas, weights: Tensor, offset: Tensor) -> Tensor:
    """What is added to the factor, ``A,N``."""
    return offset + torch.einsum("k,akn->an", weights, areas.maps)


def fit(folder: Path) -> str:
    """The tables by strength, and the weights."""
    train, select = both(folder)
    left_out = torch.empty(len(train.truth), PIXELS)
    for fold in range(FOLDS):
        out = train.fold == fold
        left_out[out] = added(train.part(out), *fitted(train.part(~out)))
    weights, offset = fitted(train)
    ours = torch.tensor([w for each in WEIGHTS.values() for w in each]), torch.tensor(OFFSET)
    parts = []
    for title, of, found in (
        ("left out", train, left_out),
        ("select", select, added(select, weights, offset)),
        ("select, by the converter's weights", select, added(select, *(x / CHOSEN for x in ours))),
    ):
        lines = [
            f"| {title}: {len(of.truth)} areas | correlation | deviation | error of the mean | PSNR |"
        ]
        lines.append("|---" * 5 + "|")
        for strength in STRENGTHS:
            rows = torch.stack(of.figures(of.shown(found, strength)), 1)
            lines.append(f"| {strength:g} | {_cells(rows)}")
        parts.append("\n".join(lines))
    numbers = ", ".join(f"{w:.4f}" for w in CHOSEN * weights)
    within = (CHOSEN * added(train, weights, offset))[train.share > 0]
    ends = within.quantile(torch.tensor([0.001, 0.999])).tolist()
    parts.append(f"At strength {CHOSEN}: weights {numbers}; offset {CHOSEN * offset:.4f}.")
    parts.append(f"All but a thousandth at either end lies from {ends[0]:.3f} to {ends[1]:.3f}.")
    return "\n\n".join(parts)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("clips", type=Path)
    options.add_argument("--models", default=MODELS)
    how = options.add_mutually_exclusive_group()
    how.add_argument("--fit", action="store_true")
    how.add_argument("--curve", action="store_true")
    a = options.parse_args()
    if a.fit:
        print(fit(a.clips))
    elif a.curve:
        print(curve(a.clips))
    else:
        print(measured(a.clips / "select", a.models.split(",")))


if __name__ == "__main__":
    try:
        main()
    except Sdr2HdrError as e:
        sys.exit(f"Error: {e}")
