"""How a command ends: every error becomes one line on standard error and an exit code."""

import traceback
from collections.abc import Sequence
from typing import Any

import click

from sdr2hdr.cli import standard
from sdr2hdr.cli.commands import Flags, cli
from sdr2hdr.cli.stopping import stopper
from sdr2hdr.errors import Interrupted, OutputError, Sdr2HdrError, UsageError
from sdr2hdr.text import printable


def run(args: Sequence[str] | None) -> int:
    """Run a command line (``sys.argv`` if None) and return the exit code."""
    flags = Flags()
    try:
        if any("\0" in word for word in args or ()):
            raise UsageError(
                "An argument holds a NUL character, which no name or option can hold; leave it out."
            )
        result: Any = cli.main(args, prog_name="sdr2hdr", obj=flags, standalone_mode=False)
        standard.flush()
    except click.ClickException as e:
        _teach(e)
        return e.exit_code
    except (KeyboardInterrupt, click.Abort) as e:
        return _say(_aborted_by(e), flags)
    except SystemExit as e:  # click ends this way when a write hits a closed pipe
        if not isinstance(e.__context__, BrokenPipeError):
            raise
        return _unprinted(e.__context__, flags)
    except (standard.PrintError, BrokenPipeError) as e:
        return _unprinted(e, flags)
    except Exception as e:
        torn = stopper.asked is not None and not isinstance(
            e, Sdr2HdrError
        )  # an interrupted library may raise another error
        return _say(Interrupted("Stopped.") if torn else e, flags)
    return result if isinstance(result, int) else 0


def _say(error: BaseException, flags: Flags) -> int:
    """One line on stderr, after the traceback if asked for; returns the exit code."""
    if isinstance(error, Interrupted):
        line = str(error)
    elif isinstance(error, Sdr2HdrError):
        line = f"Error: {error}"
    else:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        line = f"This is a bug in sdr2hdr: {what}; run again with --debug and report the output."
    if flags.debug:
        traceback.print_exception(error)
    click.echo(printable(line), err=True)
    return error.exit_code if isinstance(error, Sdr2HdrError) else 1


def _teach(error: click.ClickException) -> None:
    """The error in the command line, and how to get help. It may quote the user's text."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"Try `{error.ctx.command_path} --help`.\n", err=True)
    click.echo(printable(f"Error: {error.format_message()}"), err=True)


def _aborted_by(error: BaseException) -> BaseException:
    """Click turns Ctrl-C into Abort, but also an EOFError that slipped out of a command."""
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt):
        return Interrupted("Stopped.")
    return error.__cause__ or error


def _unprinted(problem: OSError, flags: Flags) -> int:
    """Standard output cannot be written. If its reader has exited (such as ``| head``), no message is needed."""
    standard.discard()
    if isinstance(problem, BrokenPipeError):
        if flags.debug:
            traceback.print_exception(problem)
        return 1
    return _say(
        OutputError(
            f"The standard output cannot be written ({problem.strerror}); write to another place."
        ),
        flags,
    )
