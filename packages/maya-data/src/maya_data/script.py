"""The twelve languages and the common script: the parallel Indic blocks folded onto Devanagari."""

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
"""Language -> first code point of its block; English has none."""

DANDAS = (0x964, 0x965)
"""Shared by all Indic scripts, so they are never moved and no fold may land on them."""


def _fold_codepoint(codepoint: int) -> int:
    folded = 0x900 + (codepoint & 0x7F)
    return codepoint if folded in DANDAS else folded


_FOLD = {codepoint: _fold_codepoint(codepoint) for codepoint in range(0x980, 0xD80)}
_UNFOLD = {
    lang: {cp: block + (cp & 0x7F) for cp in range(0x900, 0x980) if cp not in DANDAS}
    for lang, block in BLOCKS.items()
    if block != 0x900
}


def fold_rules() -> dict[str, str]:
    """Return every character that folding changes, with the Devanagari character it becomes."""
    return {chr(source): chr(target) for source, target in _FOLD.items() if source != target}


def fold(text: str) -> str:
    """Return `text` with its Indic letters moved onto the Devanagari block."""
    return text.translate(_FOLD)


def unfold(text: str, lang: str) -> str:
    """Return folded `text` in the script of `lang`; Hindi, Marathi and English come back unchanged."""
    return text.translate(_UNFOLD.get(lang, {}))
