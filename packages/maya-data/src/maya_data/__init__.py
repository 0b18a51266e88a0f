"""Speech data for training: readers, segment index, exact plan, batches, tokenizer training, synthesis.

Shapes: B utterances, S samples, N segments of an index, L languages.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Batch": "batch",
    "FinalExport": "readers.final_export",
    "MixConfig": "mix",
    "Plan": "plan",
    "PlanConfig": "plan",
    "SegmentIndex": "index",
    "TextProfile": "text",
    "build_index": "index",
    "describe": "stats",
    "explain": "mix",
    "iter_once": "loader",
    "make_loader": "loader",
    "train_tokenizer": "tokenizer",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for: the package itself imports at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'maya_data' has no attribute {name!r}")
    return getattr(import_module(f"maya_data.{_HOMES[name]}"), name)
