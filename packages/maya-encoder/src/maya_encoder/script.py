"""The common script: the Indic blocks of Unicode are parallel, so all of them fold onto Devanagari.

Folding needs nothing but the text; unfolding needs the language. ASCII and the shared danda signs never move.
"""

LANGS = ("as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te")

BLOCKS = {
    "as": 0x980,
    "bn": 0x980,
    "gu": 0xA80,
    "hi": 0x900,
    "kn": 0xC80,
    "ml": 0xD00,
    "mr": 0x900,
    "or": 0xB00,
    "pa": 0xA00,
    "ta": 0xB80,
    "te": 0xC00,
}

_DEVANAGARI = range(0x900, 0x980)
_OTHER_BLOCKS = range(0x980, 0xD80)
_DANDAS = (0x64, 0x65)  # offsets of U+0964 and U+0965, which all the scripts share


def fold(text: str) -> str:
    """`text` with every letter of another Indic block moved to its place in the Devanagari block."""
    return text.translate(_FOLD)


def unfold(text: str, lang: str) -> str:
    """`text` with the Devanagari letters moved to the block of `lang`; English stays as it is."""
    if lang not in LANGS:
        raise ValueError(f"`lang` must be one of {', '.join(LANGS)}, got {lang!r}")
    return text.translate(_UNFOLD.get(lang, {}))


_FOLD = {c: 0x900 + (c & 0x7F) for c in _OTHER_BLOCKS if c & 0x7F not in _DANDAS}
_UNFOLD = {
    lang: {c: block + (c & 0x7F) for c in _DEVANAGARI if c & 0x7F not in _DANDAS}
    for lang, block in BLOCKS.items()
    if block != _DEVANAGARI.start
}
