"""Under which terms an export may be passed on, as far as its contents tell."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GEMMA_TERMS = "https://ai.google.dev/gemma/terms"
GEMMA_POLICY = "https://ai.google.dev/gemma/prohibited_use_policy"
GEMMA_NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
)
PRETRAINED_PIECES = 100_000
"""A Gemma of Google's has 256,000 pieces and more; one that was made here from nothing has hundreds."""
UNDECIDED = "to-be-decided"


@dataclass(frozen=True)
class Licence:
    """The terms of an export."""

    chosen: str | None
    """What the user said, for what is theirs."""
    llm: str | None = None
    """`model_type` of an LLM whose weights are inside, unless it was made here from nothing."""

    @property
    def gemma(self) -> bool:
        """Whether weights of Google's Gemma are inside."""
        return (self.llm or "").startswith("gemma")

    def front_matter(self) -> dict[str, str]:
        """The keys of the card's front matter."""
        if self.gemma:
            return {"license": "gemma", "license_link": GEMMA_TERMS}
        if self.chosen is None or self.llm is not None:
            return {"license": "other", "license_name": self.chosen or UNDECIDED}
        return {"license": self.chosen}


def licence_of(model: Path, chosen: str | None, with_llm: bool) -> Licence:
    """The terms that hold for what is taken from a model's folder.

    Args:
        model: the folder.
        chosen: what the user said.
        with_llm: whether the LLM is part of the export.
    """
    file = model / "llm" / "config.json"
    if not with_llm or not file.is_file():
        return Licence(chosen)
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    text = config.get("text_config") or config
    if int(text.get("vocab_size") or 0) < PRETRAINED_PIECES:
        return Licence(chosen)
    return Licence(chosen, str(config.get("model_type") or "unknown"))
