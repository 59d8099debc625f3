"""A self-contained page: no network, embedded pictures and plots, escaped text."""

import html
from collections.abc import Iterable, Sequence

from sdr2hdr.text import html_text

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: dark; --cut: 50%; --a: #f0a63c; --b: #56b4f5; --truth: #7fd17f; }
body { background: #161616; color: #ddd; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 1240px; margin: 1.5em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #3a3a3a; }
h1, td, th, p { overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.92em; }
td, th { padding: 0.2em 0.8em; text-align: right; border-bottom: 1px solid #333; }
td:first-child, th:first-child { text-align: left; }
.a { color: var(--a); } .b { color: var(--b); } .truth { color: var(--truth); }
.note { color: #aaa; font-size: 0.92em; } .wide { overflow-x: auto; }
svg { display: block; width: 100%; height: auto; background: #1e1e1e; margin: 0.6em 0; }
svg text { fill: #bbb; font: 12px system-ui, sans-serif; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1em; }
"""


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], classes: Sequence[str] = ()
) -> str:
    """A table; cells are escaped, ``classes`` are those of the columns."""
    kinds = [f' class="{c}"' if c else "" for c in (*classes, *[""] * (len(head) - len(classes)))]

    def row(cells: Iterable[object], tag: str) -> str:
        inner = "".join(
            f"<{tag}{kind}>{html_text(c)}</{tag}>" for c, kind in zip(cells, kinds, strict=True)
        )
        return f"<tr>{inner}</tr>"

    body = "\n".join(row(r, "td") for r in rows)
    return f'<div class="wide"><table><thead>{row(head, "th")}</thead><tbody>{body}</tbody></table></div>'


def page(title: str, body: str, style: str = "", script: str = "") -> bytes:
    """The whole page as UTF-8; ``title`` is escaped here, ``body`` must be already."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{html_text(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
<h1>{html_text(title)}</h1>
{body}
<script>{script}</script>
</body>
</html>
""".encode()
