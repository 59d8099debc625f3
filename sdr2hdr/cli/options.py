"""The options of a conversion as click shows and reads them; ``sdr2hdr.options`` declares them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.types import OptionHelpExtra

from sdr2hdr.cli import values
from sdr2hdr.options import Option, declared

F = TypeVar("F", bound=Callable[..., Any])

_COMPLETIONS = {"model": values.models}


class Value(click.ParamType[Any]):
    """The value of an option, checked by its declaration."""

    def __init__(self, known: Option) -> None:
        self.known = known
        self.name = {int: "integer", float: "float"}.get(known.type, "text")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        # what is not text is a default, the built-in one or that of the defaults file, which was checked there
        return self.known.parse(value) if isinstance(value, str) else value


class ConversionOption(click.Option):
    """One option of ``sdr2hdr.options``."""

    def __init__(self, known: Option) -> None:
        about = known.about
        names = [known.name, *(about.flags or (known.flag,))]
        if known.type is bool:
            super().__init__(names, is_flag=True, default=known.default, help=about.help)
        else:
            offered = about.choices or about.suggestions
            super().__init__(
                names,
                type=Value(known),
                default=known.default,
                multiple=known.many,
                show_default=True,
                metavar=about.metavar or "|".join(about.choices) or None,
                help=f"{about.help.removesuffix('.')} ({about.range})."
                if about.range
                else about.help,
                shell_complete=_COMPLETIONS.get(known.name)
                or (values.one_of(*offered) if offered else None),
            )
        self.known = known

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        extra = super().get_help_extra(ctx)
        if self.known.about.shown:
            extra.setdefault("default", self.known.about.shown)
        return extra


def conversion_options(command: str) -> Callable[[F], F]:
    """Add the declared options of a command."""

    def decorate(function: F) -> F:
        mine = [ConversionOption(known) for known in declared() if command in known.about.commands]
        # click lists the parameters of a function's decorators from the last to the first
        function.__dict__.setdefault("__click_params__", []).extend(reversed(mine))
        return function

    return decorate
