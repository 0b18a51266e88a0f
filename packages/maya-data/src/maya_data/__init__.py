"""Speech data for training: readers, segment index, exact plan, batches, tokenizer training, synthesis.

Shapes: B utterances, S samples, N segments of an index, L languages.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "Batch": "batch",
    "FilterConfig": "filters",
    "FinalExport": "readers.final_export",
    "LoaderConfig": "loader_config",
    "MixConfig": "mix",
    "Plan": "plan",
    "PlanConfig": "plan_config",
    "SegmentIndex": "segments",
    "Source": "sources",
    "TextProfile": "text",
    "build_index": "index",
    "build_loader": "loader",
    "count_tokens": "tokens",
    "describe": "stats",
    "explain": "mix",
    "export_nemo": "export",
    "export_shar": "export",
    "iter_once": "loader",
    "make_loader": "loader",
    "open_index": "segments",
    "read_sources": "sources",
    "train_tokenizer": "tokenizer",
    "verify_index": "verify",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for: the package itself imports at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'maya_data' has no attribute {name!r}")
    return getattr(import_module(f"maya_data.{_HOMES[name]}"), name)
