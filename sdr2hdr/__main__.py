"""``python -m sdr2hdr``."""

import sys

from sdr2hdr.cli.main import main

sys.exit(main())
