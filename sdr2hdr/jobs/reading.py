"""Opens a source with the options of its conversion."""

from pathlib import Path

from sdr2hdr.media.source import Source
from sdr2hdr.options import Options


def open_source(path: Path, options: Options) -> Source:
    """The source at ``path``. Raises InputError unless it is an SDR video that decodes."""
    return Source(
        path,
        matrix=options.input_matrix,
        range=options.input_range,
        transfer=options.input_transfer,
        primaries=options.input_primaries,
        strict=options.strict,
        keep_start=options.keep_start,
        deinterlace=options.deinterlace,
        detelecine=options.detelecine,
        hardware=options.decoder == "hardware",
        deband=options.deband,
        qp=options.source_qp,
    )
