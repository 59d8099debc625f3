"""The program's entry point, called before anything else is loaded, so that Ctrl-C works from the start."""

import atexit
import gc
import os
import sys
from collections.abc import Sequence

try:
    from sdr2hdr.cli import standard
    from sdr2hdr.cli.stopping import stopper
except KeyboardInterrupt:
    sys.exit(130)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; docs/cli.md lists the codes.

    Without ``args`` it is the program itself: it then also looks after signals and the three standard streams.
    """
    if args is None:
        standard.complete()
        stopper.watch()
        gc.set_threshold(500_000)  # imports make some 350,000 objects, nearly all of which stay
    try:
        from sdr2hdr.cli.ending import (
            run,
        )  # click and the commands load here; Ctrl-C already works

        code = run(args)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        code = 130
    if args is None:
        stopper.over()
        _leave(code)
    return code


def _leave(code: int) -> None:
    """End as the interpreter does, but without taking apart what was loaded, which takes a tenth of a second."""
    import threading
    from contextlib import suppress

    threading._shutdown()  # type: ignore[attr-defined]  # waits for what still runs
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # full, or none
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
