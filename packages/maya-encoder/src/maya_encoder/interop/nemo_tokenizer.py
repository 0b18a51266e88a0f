"""The tokenizers of NeMo archives: SentencePiece models, one for all languages or one a language."""

from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop.nemo_archive import NemoArchive
from maya_encoder.interop.nemo_section import Section
from maya_encoder.tokenizer import BadTokenizer, Tokenizer

SINGLE = "asr"
"""Name of a model that serves all languages."""
PER_LANGUAGE = ("agg", "multilingual")


def read_tokenizer(archive: NemoArchive, section: Section) -> Tokenizer:
    """The tokenizer that the `tokenizer` section of the config describes.

    `bpe` is one SentencePiece model. `agg` is one a language with ids one after the other, and so is the
    `multilingual` of the AI4Bharat fork, in whose files ids are counted within a language.

    Raises:
        BadCheckpoint: the kind is unknown, a model is missing from the archive or damaged.
    """
    models = _models(archive, section)
    try:
        return Tokenizer(models, unknown="mark")
    except BadTokenizer as error:
        raise BadCheckpoint(f"{archive.path}: {error}") from None


def _models(archive: NemoArchive, section: Section) -> dict[str, bytes]:
    kind = str(section.get("type", "none")).lower()
    if kind not in PER_LANGUAGE:
        return {SINGLE: _model(archive, section)}
    langs = section.section("langs")
    if not langs.values:
        raise section.refusal("langs", section.get("langs"), "a tokenizer for each language")
    return {str(lang): _model(archive, langs.section(lang)) for lang in langs.values}


def _model(archive: NemoArchive, section: Section) -> bytes:
    kind = str(section.get("type", "none")).lower()
    if kind == "wpe":
        raise section.refusal("type", kind, "bpe (a SentencePiece model; word pieces are not supported)")
    if kind != "bpe":
        raise section.refusal("type", kind, "bpe, agg or multilingual")
    return archive.artifact(section.get("model_path"), section.name("model_path"))
