"""Speech data for training: readers, segment index, exact plan, batches, tokenizer training, synthesis.

Shapes: B utterances, S samples, N segments of an index, L languages.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "Batch": "loading.batch",
    "Filter": "planning.filters",
    "FilterConfig": "planning.filters",
    "FinalExport": "readers.final_export",
    "LoaderConfig": "loading.loader_config",
    "MixConfig": "planning.mix",
    "Plan": "planning.plan",
    "PlanConfig": "planning.plan_config",
    "SegmentIndex": "indexing.segments",
    "Source": "indexing.sources",
    "TextProfile": "text",
    "bucket_table": "planning.bucket_table",
    "build_index": "indexing.build",
    "build_loader": "loading.loader",
    "count_tokens": "indexing.tokens",
    "describe": "stats",
    "explain": "planning.mix",
    "export_nemo": "export",
    "export_shar": "export",
    "iter_once": "loading.loader",
    "make_loader": "loading.loader",
    "open_index": "indexing.segments",
    "read_sources": "indexing.sources",
    "train_tokenizer": "tokenizer",
    "verify_index": "verify",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for: the package itself imports at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'maya_data' has no attribute {name!r}")
    return getattr(import_module(f"maya_data.{_HOMES[name]}"), name)
