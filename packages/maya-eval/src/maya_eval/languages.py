"""Names of languages for tables and pages; a code that is not known is its own name."""

import json
from functools import cache
from importlib.resources import files


@cache
def _names() -> dict[str, tuple[str, str]]:
    text = files("maya_eval").joinpath("languages.json").read_text(encoding="utf-8")
    return {code: (english, own) for code, (english, own) in json.loads(text).items()}


def codes() -> tuple[str, ...]:
    """Returns the codes that have a name."""
    return tuple(_names())


def code_of_name(name: str) -> str | None:
    """Returns the code of a language by its English or own name."""
    wanted = name.casefold()
    return next((code for code, names in _names().items() if wanted in map(str.casefold, names)), None)


def english_name(lang: str) -> str:
    """Returns the English name of a language."""
    return _names().get(lang, (lang, lang))[0]


def own_name(lang: str) -> str:
    """Returns the name that a language has in itself, in its own script."""
    return _names().get(lang, (lang, lang))[1]
