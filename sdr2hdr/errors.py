"""Errors with messages for people.

Every message is one sentence (or two short ones) that names the file, the cause and the way out. The command line prints
the message alone and ends with the class's exit code; ``--debug`` adds the traceback.
"""


class Sdr2HdrError(Exception):
    """Base of all errors with a message for people; ``exit_code`` is the process's exit status."""

    exit_code = 1


class UsageError(Sdr2HdrError):
    """An option has a value that it cannot have."""

    exit_code = 2


class InputError(Sdr2HdrError):
    """The source, or another input file (such as a scene list), cannot be used."""

    exit_code = 3


class OutputError(Sdr2HdrError):
    """The result cannot be written: it exists, the folder is not writable, the disk is full, or the check failed."""

    exit_code = 4


class ModelError(Sdr2HdrError):
    """The model, its weights, or the requested device is not available."""

    exit_code = 5


class Interrupted(Sdr2HdrError):
    """Stopped by the user; finished chunks are kept, and the message says how to continue."""

    exit_code = 130
