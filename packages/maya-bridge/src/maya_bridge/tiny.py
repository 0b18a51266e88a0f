"""A tiny Gemma 3 with random weights over single characters: it learns a small task in minutes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from maya_bridge.text_side import SPECIAL_TOKENS
from maya_encoder.script import fold

if TYPE_CHECKING:
    from transformers import Gemma3ForCausalLM, PreTrainedTokenizerFast

SPACE_PIECE = "\u2581"


class TinySizes(Protocol):
    """The fields of LLMConfig that size a tiny model."""

    hidden_size: int
    num_layers: int | None
    num_heads: int
    num_kv_heads: int
    ff_expansion: int


class Pieces(Protocol):
    """The acoustic tokenizer, as far as its pieces go."""

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""

    def piece(self, index: int) -> str:
        """Return the text of a piece, U+2581 for a space."""


def piece_text(tokenizer: Pieces, index: int, script: str) -> str:
    """Return a piece as text, folded for the common script; the unknown piece is empty."""
    piece = tokenizer.piece(index)
    text = "" if piece == "<unk>" else piece.replace(SPACE_PIECE, " ")
    return fold(text) if script == "common" else text


def common_characters(tokenizer: Pieces) -> list[str]:
    """Return the characters that an acoustic tokenizer can write, in the common script, sorted."""
    pieces = (piece_text(tokenizer, index, "common") for index in range(tokenizer.vocab_size))
    return sorted(set("".join(pieces)))


def character_tokenizer(characters: Sequence[str]) -> "PreTrainedTokenizerFast":
    """Return a fast tokenizer of one id a character; a space is a character."""
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<eos>", "<bos>", *SPECIAL_TOKENS]
    vocab = {token: index for index, token in enumerate([*special, *characters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        clean_up_tokenization_spaces=False,
    )


def tiny_gemma(vocab_size: int, sizes: TinySizes) -> "Gemma3ForCausalLM":
    """Return a random Gemma 3 with full attention in every layer and tied embeddings."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    num_layers = sizes.num_layers or 2
    head_dim = sizes.hidden_size // sizes.num_heads
    config = Gemma3TextConfig(
        vocab_size=vocab_size,
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.hidden_size * sizes.ff_expansion,
        num_hidden_layers=num_layers,
        num_attention_heads=sizes.num_heads,
        num_key_value_heads=sizes.num_kv_heads,
        head_dim=head_dim,
        query_pre_attn_scalar=head_dim,
        layer_types=["full_attention"] * num_layers,
        max_position_embeddings=2048,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        tie_word_embeddings=True,
    )
    return Gemma3ForCausalLM(config)
