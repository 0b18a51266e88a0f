"""What the AI4Bharat fork of NeMo (branch nemo-v2) adds to an archive: one output a language.

Its tokenizer (`type: multilingual`) has a SentencePiece model a language, all of one size, and counts ids
within the language. CTC has one row for every piece of every language and a blank behind them; its softmax is
over the rows of the utterance's language and the blank (`multisoftmax`). The transducer has an output layer
for each language, with a blank of its own, behind one prediction network that gets ids within the language.
Here ids are global throughout; the heads go between the two. Features are the legacy ones.
"""

from collections.abc import Mapping

from torch import Tensor

from maya_encoder.interop.nemo_section import Section
from maya_encoder.tokenizer import Tokenizer


def from_fork(config: Section) -> bool:
    """Whether the archive is one of the fork's, which no other NeMo opens."""
    return str(config.section("tokenizer").get("type")).lower() == "multilingual"


def check_fork(config: Section, tokenizer: Tokenizer, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a variant of the fork whose ids or outputs are laid out in another way.

    Raises:
        BadCheckpoint: no softmax a language, languages without an output or of different sizes, or tokens
            that name a language (which a later experiment of the fork had).
    """
    decoder = config.section("decoder")
    if not decoder.get("multisoftmax", False):
        raise decoder.refusal(
            "multisoftmax", decoder.get("multisoftmax"), "true with a multilingual tokenizer"
        )
    sizes = {len(ids) for ids in tokenizer.lang_vocab(tokenizer.names).values()}
    if len(sizes) > 1:
        raise config.refusal("tokenizer.langs", sorted(sizes), "models of one size")
    _check_rows(config, tokenizer, tensors)
    joint = config.section("joint")
    if joint.values:
        if not joint.flag("multilingual", False):
            raise joint.refusal("multilingual", False, "true with a multilingual tokenizer")
        if set(keys := joint.get("language_keys", [])) != set(tokenizer.names):
            raise joint.refusal("language_keys", list(keys), f"the tokenizer's {', '.join(tokenizer.names)}")


def _check_rows(config: Section, tokenizer: Tokenizer, tensors: Mapping[str, Tensor]) -> None:
    wanted = tokenizer.vocab_size + 1
    tagged = wanted + len(tokenizer.names)
    for name in ("ctc_decoder.decoder_layers.0.weight", "decoder.decoder_layers.0.weight"):
        rows = len(tensors[name]) if name in tensors else wanted
        if rows == tagged:
            raise config.refusal(name, f"{rows} rows", f"{wanted} rows; this variant writes language tokens")
