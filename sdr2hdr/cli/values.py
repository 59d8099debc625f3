"""What values options may have, and what shells complete them to; torch stays out of it."""

import math
from collections.abc import Callable
from typing import Any

import click

from sdr2hdr.options import AUTO


def models(_ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """Models and named weights, of a list divided by commas the last one; auto for an option whose default it is."""
    from sdr2hdr.weights.manifest import entries

    names = {"bt2408", "bt2446a"} | {n for e in entries().values() for n in (e.name, e.model)}
    if param.default == AUTO:
        names.add(AUTO)
    before, comma, last = begun.rpartition(",")
    return sorted(before + comma + n for n in names if n.startswith(last))


def recipes(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Recipes that come with sdr2hdr."""
    from importlib.resources import files

    found = (files("sdr2hdr") / "training" / "recipes").iterdir()
    return sorted(
        n for p in found if (n := p.name.removesuffix(".toml")) != p.name and n.startswith(begun)
    )


def one_of(*values: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A completion of these values."""
    return lambda _ctx, _param, begun: [v for v in values if v.startswith(begun)]


class Range(click.FloatRange):
    """Numbers of a range. NaN, which Click lets pass, lies in none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """The names in a list divided by commas, each once; none if the option is not given."""
    found = tuple(dict.fromkeys(n.strip() for n in (value or "").split(",") if n.strip()))
    if value is not None and not found:
        raise click.BadParameter("name at least one.")
    return found
