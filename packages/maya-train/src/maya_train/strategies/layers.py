"""The repeated layers of a model: what is gathered at once where weights are sharded, or compiled at once."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn

LAYERS = ("*encoder.layers.*", "*llm.*.layers.*", "model.model.layers.*")
"""Names, in a task, of layers that are only ever called whole: of the encoder, and of the LLM."""


def repeated_layers(task: nn.Module, patterns: Sequence[str] = LAYERS) -> Iterator[nn.Module]:
    """The members of module lists whose names match one of `patterns`; none lies inside another."""
    taken: tuple[str, ...] = ()
    lists = {name for name, module in task.named_modules() if isinstance(module, nn.ModuleList)}
    for name, module in task.named_modules():
        is_member = name.rpartition(".")[0] in lists and not name.startswith(taken or ("\0",))
        if is_member and any(fnmatchcase(name, pattern) for pattern in patterns):
            taken += (f"{name}.",)
            yield module
