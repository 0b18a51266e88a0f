import re
from pathlib import Path

import torch

README = Path(__file__).parents[2] / "packages" / "maya-encoder" / "README.md"


def test_example_of_the_parts_runs():
    torch.manual_seed(0)
    example = next(
        code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "LogMel" in code
    )
    names: dict = {}
    exec(example, names)
    assert names["loss"].shape == (2,)
    assert len(names["texts"]) == 2


def test_every_file_that_is_named_is_there():
    source = README.parent / "src" / "maya_encoder"
    named = re.findall(r"`((?:heads/)?\w+\.py)`", README.read_text())
    assert len(named) > 10
    assert all((source / name).is_file() for name in named)
