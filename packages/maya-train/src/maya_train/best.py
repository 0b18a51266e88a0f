"""Which training states are the best: the number of a validation that says so."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maya_train.schema import RunConfig

RATES = ("wer", "cer")
LLM = "llm"


def check_best(cfg: "RunConfig") -> None:
    """Refuse best states where nothing is validated, and a `best_by` that no validation has.

    Raises:
        ValueError: one sentence on the first of them.
    """
    chooses = "keep_best" if cfg.keep_best else "average.best" if cfg.average and cfg.average.best else None
    if chooses is not None and cfg.data.valid_index is None:
        raise ValueError(f"`{chooses}` chooses by validation: set data.valid_index, or unset {chooses}")
    parts, heads = cfg.best_by.split("."), (*cfg.heads, LLM)
    if parts[0] == "mean":
        right = len(parts) == 3 and parts[1] in heads and parts[2] in RATES
    else:
        right = parts[0] in RATES and (len(parts) == 1 or (len(parts) == 3 and parts[1] in heads))
        right = right and (len(parts) == 1 or not cfg.langs or parts[2] in cfg.langs)
    if not right:
        raise ValueError(
            "`best_by` must be wer, cer, mean.<head>.wer or wer.<head>.<lang> with a head of"
            f" {', '.join(heads)}, got {cfg.best_by}"
        )


def score_of(scores: Mapping[str, Any], by: str) -> float:
    """The number in a validation's record that says how good it was, the lower the better.

    Args:
        scores: the record.
        by: `wer` or `cer`, the mean over all heads, or a path into the record such as `wer.ctc.hi`.

    Raises:
        ValueError: there is no such number.
    """
    mean = scores.get("mean", {})
    if by in ("wer", "cer") and mean:
        return float(sum(rates[by] for rates in mean.values()) / len(mean))
    found: Any = scores
    for key in by.split("."):
        if not isinstance(found, Mapping) or key not in found:
            have = ", ".join(map(str, found)) if isinstance(found, Mapping) else "a number"
            raise ValueError(f"`best_by`: {by}: a validation has no {key!r} there, but: {have}")
        found = found[key]
    if not isinstance(found, (int, float)) or isinstance(found, bool):
        raise ValueError(f"`best_by`: {by} is no number in a validation, but {found!r}")
    return float(found)
