"""What corpora call our languages, and what a path says of the language of the files below it."""

import re

from maya_data.script import LANGS

NAMES = {
    "assamese": "as",
    "asm": "as",
    "bengali": "bn",
    "bangla": "bn",
    "ben": "bn",
    "english": "en",
    "eng": "en",
    "gujarati": "gu",
    "guj": "gu",
    "hindi": "hi",
    "hin": "hi",
    "kannada": "kn",
    "kan": "kn",
    "malayalam": "ml",
    "mal": "ml",
    "marathi": "mr",
    "mar": "mr",
    "odia": "or",
    "oriya": "or",
    "ori": "or",
    "ory": "or",
    "punjabi": "pa",
    "panjabi": "pa",
    "pan": "pa",
    "tamil": "ta",
    "tam": "ta",
    "telugu": "te",
    "tel": "te",
    "bodo": "brx",
    "dogri": "doi",
    "kashmiri": "ks",
    "konkani": "kok",
    "maithili": "mai",
    "manipuri": "mni",
    "nepali": "ne",
    "sanskrit": "sa",
    "santali": "sat",
    "sindhi": "sd",
    "urdu": "ur",
}
"""Name in lower case -> code: our twelve, and those that lie beside them in the same corpora."""

CODES = frozenset(NAMES.values())
WITH_REGION = re.compile(r"([a-z]{2,3})[_-]([A-Za-z]{2}|[A-Za-z]{4})")


def code_of(name: str) -> str:
    """Return the code of a language: `Hindi`, `hin`, `hi_in` and `hi-IN` are `hi`; an unknown name stays."""
    name = name.strip()
    lower = name.lower()
    if lower in NAMES or lower in CODES:
        return NAMES.get(lower, lower)
    if match := WITH_REGION.fullmatch(name):
        return NAMES.get(match[1], match[1])
    return name


def lang_in_path(path: str) -> str:
    """Return the language that a folder of the path names (`lang=hi/`, `hindi/`, `pa-IN/`), else ''.

    Short names that could be anything else (`mar/`, `sd/`) say nothing without `lang=`.
    """
    for part in path.split("/")[:-1]:
        name = part.removeprefix("lang=")
        plain = name == part and len(name) <= 3 and name not in LANGS
        if not plain and (code := code_of(name)) in CODES:
            return code
    return ""
