"""The user's defaults: a TOML file with a table for each command."""

from pathlib import Path
from typing import Any

import click

from sdr2hdr.cli.options import ConversionOption
from sdr2hdr.errors import InputError, UsageError
from sdr2hdr.reading import MissingFile, read_toml

NEVER = ("overwrite",)
"""Options without a default: one that always replaces files would lose some."""
_KINDS: dict[type, tuple[type | tuple[type, ...], str]] = {
    click.types.BoolParamType: (bool, "true or false"),
    click.types.IntParamType: (int, "a whole number"),
    click.types.FloatParamType: ((int, float), "a number"),
}
"""The TOML type for an option's type, most specific first; text for all others."""


def config_path() -> Path:
    """``~/.config/sdr2hdr.toml``, or in ``XDG_CONFIG_HOME``, or in the usual folder of another system."""
    from platformdirs import user_config_path

    return user_config_path() / "sdr2hdr.toml"


def defaults(command: click.Command, name: str, known: dict[str, Any]) -> dict[str, Any]:
    """The file's defaults for a command, as click's ``default_map`` of the group; empty without a file.

    ``known`` are the names of all commands. Raises InputError naming file and key for invalid TOML, an unknown command, an
    unknown option or a wrong value. Tables of other commands are checked when these run.
    """
    path = config_path()
    try:
        data = read_toml(path, "a file of defaults")
    except MissingFile:
        return {}
    for table, value in data.items():
        if table not in known or not isinstance(value, dict):
            raise InputError(
                f"{path}: {table!r} is not a command; give a table for each command, for example [convert]."
            )
    return {name: _checked(command, data.get(name, {}), path, name)}


def _checked(
    command: click.Command, table: dict[str, Any], path: Path, name: str
) -> dict[str, Any]:
    """The table with options' own names as keys and values that fit."""
    options = {
        o.removeprefix("--"): p for p in command.params for o in p.opts if o.startswith("--")
    }
    below = command.commands if isinstance(command, click.Group) else {}
    found: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{path}: {key} in [{name}]"
        if key in below and isinstance(value, dict):
            found[key] = _checked(below[key], value, path, f"{name}.{key}")
            continue
        option = options.get(key.replace("_", "-"))
        if not isinstance(option, click.Option) or option.name is None:
            raise InputError(
                f"{where} is no option; `sdr2hdr {name.replace('.', ' ')} --help` lists them."
            )
        if option.name in NEVER or (
            isinstance(option, ConversionOption) and not option.known.about.saved
        ):
            raise InputError(f"{where} cannot be a default; give it on the command line.")
        try:
            found[option.name] = _value(option, value, click.Context(command))
        except (UsageError, click.ClickException) as e:
            cause = e.message if isinstance(e, click.ClickException) else str(e)
            raise InputError(f"{where} = {value!r} does not fit: {cause.rstrip('.')}.") from e
    return found


def _value(option: click.Option, value: Any, ctx: click.Context) -> Any:
    """A value of the file, converted for the option. A TOML type is never taken for another."""
    if isinstance(option, ConversionOption):
        return option.known.check(value)
    kind, words = next(
        (k for t, k in _KINDS.items() if isinstance(option.type, t)), (str, "text in quotes")
    )
    if option.multiple and not isinstance(value, list):
        raise UsageError(f"It must be a list, such as [{value!r}].")
    each = value if option.multiple else [value]
    if not all(isinstance(v, kind) and isinstance(v, bool) is (kind is bool) for v in each):
        raise UsageError(f"It must be {words}.")
    if "\0" in str(value):
        raise UsageError("It holds a NUL character, which no name can.")
    option.type_cast_value(ctx, value)
    return value
