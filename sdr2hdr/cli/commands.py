"""The command ``sdr2hdr``: its sub-commands by name, each loaded when it is called, and the flags that all of them accept."""

import difflib
import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click

from sdr2hdr import __version__
from sdr2hdr.cli.config import defaults

# name: (module and function, short help); a module is loaded when its command is called
COMMANDS = {
    "convert": ("sdr2hdr.cli.convert:convert", "Turn an SDR video into HDR10."),
    "batch": ("sdr2hdr.cli.batch:batch", "Turn a folder of SDR videos into HDR10."),
    "params": ("sdr2hdr.cli.params:params", "Print options for another encoder."),
    "probe": ("sdr2hdr.cli.probe:probe", "Show what a video file is."),
    "scenes": ("sdr2hdr.cli.scenes:scenes", "Show how a film is split into scenes."),
    "preview": ("sdr2hdr.cli.preview:preview", "Render single frames."),
    "look": ("sdr2hdr.cli.look:look", "Write a film's look to a file."),
    "looks": ("sdr2hdr.cli.look:looks", "List the named looks."),
    "lut": ("sdr2hdr.cli.lut:lut", "Write colour tables of a film (.cube)."),
    "compare": ("sdr2hdr.cli.compare:compare", "Compare two films on one page."),
    "models": ("sdr2hdr.cli.models:models", "List the models."),
    "train": ("sdr2hdr.cli.train:train", "Train a model from a recipe."),
    "reproduce": (
        "sdr2hdr.cli.reproduce:reproduce",
        "Train and measure a network as its paper does.",
    ),
    "evaluate": ("sdr2hdr.cli.evaluate:evaluate", "Measure results and models."),
    "dataset": ("sdr2hdr.cli.dataset:dataset", "Prepare folders of paired frames for training."),
    "weights": ("sdr2hdr.cli.weights:weights", "List, download, check and import weights."),
    "doctor": ("sdr2hdr.cli.doctor:doctor", "Show what this machine has and what is missing."),
    "bench": ("sdr2hdr.cli.bench:bench", "Measure how fast this machine converts."),
    "completion": (
        "sdr2hdr.cli.completion:completion",
        "Set up shell completion.",
    ),
}


@dataclass
class Flags:
    """The flags of every command, kept in the click context."""

    debug: bool = False


def _debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Flags).debug = True


def _offline(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        os.environ["SDR2HDR_OFFLINE"] = "1"  # the environment, so that worker processes know it too


_EVERYWHERE = (
    click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=_debug,
        help="Show tracebacks of errors.",
    ),
    click.Option(
        ["--offline"],
        is_flag=True,
        expose_value=False,
        callback=_offline,
        help="Never use the network.",
    ),
)


def with_flags(command: click.Command) -> click.Command:
    """Adds ``--debug`` and ``--offline`` to a command and its sub-commands, unless they have their own."""
    taken = {name for param in command.params for name in param.opts}
    command.params += [option for option in _EVERYWHERE if not taken & set(option.opts)]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_flags(below)
    return command


class LazyGroup(click.Group):
    """A group whose commands are known by name and loaded only to run them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            module, _, function = COMMANDS[cmd_name][0].partition(":")
            self.add_command(with_flags(getattr(import_module(module), function)), cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            if near:
                hint = f"Did you mean '{near[0]}'?"
            elif Path(name).is_file():
                hint = f"To convert that file: sdr2hdr convert {name} OUT.mkv"
            else:
                hint = f"Commands: {', '.join(COMMANDS)}."
            ctx.fail(f"There is no command '{name}'. {hint}")
        found = super().resolve_command(ctx, args)
        if found[1] is not None and found[0] is not None:
            ctx.default_map = defaults(found[1], found[0], COMMANDS)
        return found


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sdr2hdr")
def cli() -> None:
    """Turn SDR video into true HDR10 with neural inverse tone mapping.

    Your own defaults: ~/.config/sdr2hdr.toml, with a table for each command (docs/cli.md).

    \b
    Example:
      sdr2hdr convert film.mp4 film-hdr.mkv
    """


with_flags(cli)
