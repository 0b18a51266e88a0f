"""Pieces of an HTML page."""

import html
from collections.abc import Iterable, Sequence


def section(title: str, body: str) -> str:
    """Return a section of the page; `body` is HTML."""
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>"


def details(title: str, body: str) -> str:
    """Return what is hidden until `title` is clicked; `body` is HTML."""
    return f"<details><summary>{html.escape(title)}</summary>{body}</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table of plain texts, the first `left` columns flush left."""

    def line(tag: str, cells: Sequence[str]) -> str:
        drawn = (
            f"<{tag}{' class=text' if number < left else ''}>{html.escape(cell)}</{tag}>"
            for number, cell in enumerate(cells)
        )
        return f"<tr>{''.join(drawn)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{line("th", head)}</thead><tbody>{body}</tbody></table></div>'
