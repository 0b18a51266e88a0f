"""Names for the unused entries of a Gemma tokenizer: ids, sizes and weights stay as they are."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maya_bridge.text_side import CONTROL_TOKENS, LANG_TOKENS, SPECIAL_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# The order is fixed for good: checkpoints depend on it. Three are kept for context and silence.
SPARE_TOKENS = (*CONTROL_TOKENS, "<|ctx|>", "<|/ctx|>", "<|nospeech|>", *LANG_TOKENS)


def with_special_tokens(hf: Any) -> "PreTrainedTokenizerFast":
    """Return `hf` if it knows our special tokens, else a copy whose spare tokens are renamed to them."""
    fast: PreTrainedTokenizerFast = hf
    if all(fast.backend_tokenizer.token_to_id(token) is not None for token in SPECIAL_TOKENS):
        return fast
    with tempfile.TemporaryDirectory() as folder:
        fast.save_pretrained(folder)
        name_spare_tokens(Path(folder) / "tokenizer.json")
        fast = type(hf).from_pretrained(folder)
    return fast


def name_spare_tokens(path: Path) -> None:
    """Rename <unused0>, <unused1>, ... of a tokenizer.json to SPARE_TOKENS."""
    data = json.loads(path.read_text(encoding="utf-8"))
    names = {f"<unused{index}>": token for index, token in enumerate(SPARE_TOKENS)}
    vocab = data["model"]["vocab"]
    if missing := [old for old in names if old not in vocab]:
        raise ValueError(
            f"the vocabulary of {path.name} must hold {len(names)} <unused> tokens, got no {missing[0]}"
        )
    data["model"]["vocab"] = {names.get(token, token): index for token, index in vocab.items()}
    added = {token["id"]: token for token in data["added_tokens"]}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    for name in names.values():
        index = data["model"]["vocab"][name]
        added[index] = {"id": index, "content": name, **plain}
    data["added_tokens"] = [added[index] for index in sorted(added)]
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
