"""Before and after: frames of a source beside its conversion, tone-mapped to SDR (BT.2390), as one PNG.

    python -m benchmarks.contact_sheet IN OUT SHEET.png [--frames 8] [--width 480]

The HDR picture is shown as a display of 400 nits would show it, its white at that display's white; so a good conversion looks
like the source with more light in its highlights, not like another film.
"""

from pathlib import Path

import imageio.v3 as iio
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.command import parser
from sdr2hdr.color.primaries import convert
from sdr2hdr.color.tonemap import bt2390_eetf
from sdr2hdr.color.transfer import bt1886_inverse_eotf, pq_eotf
from sdr2hdr.media.source import Source

SHOWN = 400.0


def for_sdr(codes: Tensor) -> Tensor:
    """PQ codes ``3,H,W`` BT.2020 to R'G'B' 0..1 BT.709 for an SDR screen."""
    light = bt2390_eetf(pq_eotf(codes), 1000.0, SHOWN) / SHOWN
    return bt1886_inverse_eotf(convert(light, "bt2020", "bt709").clamp(0, 1))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("source", type=Path)
    options.add_argument("converted", type=Path)
    options.add_argument("sheet", type=Path)
    options.add_argument("--frames", type=int, default=8)
    options.add_argument("--width", type=int, default=480)
    a = options.parse_args()
    source = Source(a.source)
    count = sum(1 for _ in source.pictures())
    wanted = {round((i + 0.5) * count / a.frames) for i in range(a.frames)}
    before = {i: p.rgb() for i, p in enumerate(source.pictures()) if i in wanted}
    after = {
        i: p.codes() for i, p in enumerate(Source(a.converted, hdr=True).pictures()) if i in wanted
    }
    rows = []
    for i in sorted(wanted & set(before) & set(after)):
        pair = [before[i], for_sdr(after[i])[..., : before[i].shape[-2], : before[i].shape[-1]]]
        height = round(a.width * before[i].shape[-2] / before[i].shape[-1])
        rows.append(
            torch.cat(
                [F.interpolate(p[None], (height, a.width), mode="area")[0] for p in pair], dim=-1
            )
        )
    half = (len(rows) + 1) // 2
    columns = [torch.cat(c, dim=-2) for c in (rows[:half], rows[half:]) if c]
    if len(columns) == 2 and columns[1].shape != columns[0].shape:
        columns[1] = F.pad(columns[1], (0, 0, 0, columns[0].shape[-2] - columns[1].shape[-2]))
    sheet = torch.cat(columns, dim=-1)
    iio.imwrite(a.sheet, (sheet.permute(1, 2, 0) * 255).round().byte().numpy())


if __name__ == "__main__":
    main()
