"""A measurement as a folder: CSV, JSON, charts and the worst frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sdr2hdr.errors import OutputError
from sdr2hdr.evaluation.charts import chart, has_matplotlib
from sdr2hdr.evaluation.scores import GROUPINGS, Score, groups, parts_of, to_csv, to_json
from sdr2hdr.evaluation.worst import Worst
from sdr2hdr.metrics.measures import Measure
from sdr2hdr.views.pictures import png_bytes
from sdr2hdr.writing import write_whole


def check_folder(out: Path, overwrite: bool) -> None:
    """Make the folder ready; raises OutputError if it cannot be made or is not empty."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not overwrite and any(out.iterdir()):
            raise OutputError(
                f"{out} holds files already; choose another folder, or replace them with -y."
            )
    except OSError as e:
        raise OutputError(
            f"{out} cannot be made a folder ({e.strerror}); choose another place."
        ) from e


def write_report(
    out: Path,
    scores: Sequence[Score],
    measures: Sequence[Measure],
    absent: Mapping[str, str],
    worst: Worst,
) -> list[str]:
    """Write ``scores.csv``, ``scores.json``, ``by_look.png``, ``by_qp.png``, ``by_scene.png`` and ``worst_MODEL_N.png``.

    Each file appears whole; charts are left out if there is nothing to group; those of a second part end in ``_2``. Returns
    notes for people. Raises OutputError.
    """
    write_whole(out / "scores.csv", to_csv(scores, measures).encode(), overwrite=True)
    write_whole(out / "scores.json", to_json(scores, measures, absent).encode(), overwrite=True)
    notes = []
    if has_matplotlib():
        for number, (part, mine) in enumerate(parts_of(scores).items(), 1):
            for by in GROUPINGS:
                found = groups(mine, by)
                if found:
                    name = f"by_{by}.png" if number == 1 else f"by_{by}_{number}.png"
                    write_whole(
                        out / name,
                        chart(f"{part}, by {by.replace('qp', 'QP')}", by, found, measures),
                        overwrite=True,
                    )
    else:
        notes.append("No charts: matplotlib is not installed (pip install 'sdr2hdr[metrics]').")
    for name, picture in worst.pictures():
        write_whole(out / f"worst_{name}.png", png_bytes(picture), overwrite=True)
    return notes
