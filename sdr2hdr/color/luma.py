"""Luma coefficients of the Y'CbCr matrices; numbers only, so that using them does not load torch."""

MATRICES: dict[str, tuple[float, float]] = {
    "bt709": (0.2126, 0.0722),
    "bt601": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}
"""Kr and Kb of the matrices that can be read (H.273 table 4)."""


def weights(matrix: str) -> tuple[float, float, float]:
    """Kr, Kg and Kb: how much red, green and blue count in luma; their sum is 1."""
    kr, kb = MATRICES[matrix]
    return kr, 1.0 - kr - kb, kb
