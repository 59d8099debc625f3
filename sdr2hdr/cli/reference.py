"""The command reference, made from the commands themselves: ``python -m sdr2hdr.cli.reference > docs/reference.md``."""

from collections.abc import Iterator

import click

from sdr2hdr.cli.commands import cli
from sdr2hdr.cli.screen import show_text

WIDTH = 110


def reference() -> str:
    """Every command's own help, as Markdown."""
    parts = [
        "# Command reference\n\nThe `--help` text of every command, made by `python -m sdr2hdr.cli.reference`. "
        "Exit codes, environment and your own defaults: [cli.md](cli.md).\n"
    ]
    for path, text in _pages(cli, "sdr2hdr", None):
        parts.append(f"## {path}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def _pages(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    ctx = click.Context(
        command,
        parent,
        name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield ctx.command_path, "\n".join(line.rstrip() for line in command.get_help(ctx).splitlines())
    if isinstance(command, click.Group):
        for below in command.list_commands(ctx):
            found = command.get_command(ctx, below)
            if found is not None:
                yield from _pages(found, below, ctx)


if __name__ == "__main__":
    show_text(reference())
