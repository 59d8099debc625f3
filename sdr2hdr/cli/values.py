"""What values options may have, for shells that complete them; torch stays out of it."""

from collections.abc import Callable

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
