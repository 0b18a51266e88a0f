"""Small pieces of HTML; text from outside passes `text` or an attribute of `tag`, which escape it."""

from html import escape

from maya_eval.languages import english_name, own_name
from maya_eval.summary import HEAD_ORDER, percent

HEAT_TOP = {"wer": 0.40, "cer": 0.12}


def text(value: object) -> str:
    """Returns any value as escaped text."""
    return escape(str(value))


def tag(name: str, inner: str = "", **attributes: object) -> str:
    """Returns an element around markup; `class_` is `class`, an attribute of None or "" is left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value != ""
    )
    return f"<{name}{shown}>{inner}</{name}>"


def section(anchor: str, title: str, *parts: str) -> str:
    """Returns a titled section; without content it is left out."""
    inner = "".join(parts)
    return tag("section", tag("h2", text(title)) + inner, id=anchor) if inner else ""


def note(value: str) -> str:
    """Returns a line of quiet explanation."""
    return tag("p", text(value), class_="note")


def language(lang: str) -> str:
    """Returns a language's own name with its English name and code beside it."""
    own, english = own_name(lang), english_name(lang)
    beside = f"({lang})" if own == english else f"{english} ({lang})"
    return tag("span", text(own), lang=lang, class_="own") + " " + tag("span", text(beside), class_="quiet")


def rate_cell(
    rate: float | None, kind: str = "wer", *, heated: bool = True, class_: str = "", title: str = ""
) -> str:
    """Returns a table cell with a percentage, coloured from calm green to warm red."""
    heat = "" if rate is None or not heated else f"--h:{min(1.0, rate / HEAT_TOP[kind]):.3f}"
    look = "heat" if heat else "none" if rate is None else ""
    classes = " ".join(filter(None, ("rate", kind, look, class_)))
    return tag("td", text(percent(rate)), style=heat, class_=classes, title=title)


def head_color(position: int) -> str:
    """Returns the colour of the n-th head, as CSS."""
    return f"var(--head-{position % 4})"


def head_label(head: str) -> str:
    """Returns how a system is called on the page: a head of a model in capitals, any other as it is."""
    return head.upper() if head in HEAD_ORDER else head
