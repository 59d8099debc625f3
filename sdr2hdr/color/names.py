"""Names of the transfers and primaries of SDR displays; text only, so that using them does not load torch."""

TRANSFERS = ("bt1886", "srgb", "gamma22", "gamma26", "gamma28", "linear")
"""Transfers of SDR displays (:mod:`sdr2hdr.color.display`); all show code 1 as full light."""

DISPLAY_PRIMARIES = ("bt709", "bt601-525", "bt601-625", "p3-dci", "p3-d65", "bt2020")
"""Primaries of SDR displays (:mod:`sdr2hdr.color.primaries`)."""
