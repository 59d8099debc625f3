"""The frame loop's arithmetic compiled for this processor; the formulas in :mod:`sdr2hdr.color` stay the reference."""
