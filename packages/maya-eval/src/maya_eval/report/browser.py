"""The utterance browser: what stands in the page before its script unpacks and draws the rows."""

import base64
from importlib.resources import files

from maya_eval.report.markup import note, section, tag, text
from maya_eval.report.rows import Utterances, pack
from maya_eval.report.sound import Sound
from maya_eval.summary import percent

SHOW = {
    "all": "all utterances",
    "wrong": "with errors",
    "differ": "where systems differ",
    "agree": "systems agree, reference differs",
    "empty": "nothing written",
    "long": "twice as long as said",
    "sound": "with sound",
}


def utterance_browser(utterances: Utterances, sound: Sound) -> str:
    """Returns the section with its packed rows and embedded clips; empty without utterances."""
    if not utterances.items:
        return ""
    block = base64.b64encode(pack(utterances, sound.of)).decode()
    rows = tag("script", block, type="text/plain", id="rows")
    table = tag("table", tag("thead") + tag("tbody"), class_="rows")
    pager = tag(
        "div",
        tag("button", "&lsaquo; back", type="button", id="back")
        + tag("span", "", id="where", aria_live="polite")
        + tag("button", "next &rsaquo;", type="button", id="next"),
        class_="pager",
    )
    shown = tag(
        "div", _controls() + tag("div", table, class_="scroll") + pager, id="browser", hidden="hidden"
    )
    waiting = tag("p", "Unpacking the utterances, which needs JavaScript.", id="waiting", class_="note")
    explanation = (
        f"{len(utterances.items)} utterances, {_flawless(utterances)} without an error in any system. A "
        "click opens the words side by side, aligned as they were counted; a column's name sorts by it."
    )
    if sound.embedded:
        explanation += f" The sound of {sound.embedded} is in this page."
    return section(
        "utterances", "Utterances", note(explanation), legend(), waiting, shown, rows, sound.markup
    )


def script() -> str:
    """Returns the page's script."""
    code = files("maya_eval.report").joinpath("page.js").read_text(encoding="utf-8")
    return f"<script>{code}</script>"


def legend() -> str:
    """Returns what the marks of an alignment mean."""
    pieces = f"{tag('mark', 'another word')} {tag('ins', 'made up')} {tag('del', '&middot;')} missed"
    return tag("p", pieces, class_="legend diff")


def _controls() -> str:
    options = "".join(tag("option", text(said), value=name) for name, said in SHOW.items())
    controls = tag(
        "input", type="search", id="find", placeholder="find words or an id", aria_label="find words or an id"
    )
    for name, said in (("lang", "language"), ("benchmark", "benchmark"), ("speaker", "voice")):
        controls += tag("select", "", id=f"by-{name}", aria_label=said)
    controls += tag("select", options, id="show", aria_label="which utterances")
    return tag("div", controls, class_="controls")


def _flawless(utterances: Utterances) -> str:
    count = sum(not any(item.words.errors for item in outputs.values()) for outputs in utterances.items)
    return f"{count} ({percent(count / len(utterances.items), 0)} %)"
