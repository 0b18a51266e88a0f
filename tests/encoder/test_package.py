import subprocess
import sys

import pytest

import maya_encoder


def python(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = {
    "lhotse",
    "lightning",
    "pyarrow",
    "scipy",
    "tokenizers",
    "torchaudio",
    "torchmetrics",
    "transformers",
}


def test_import_alone_brings_nothing_heavy():
    found = python(
        f"import sys, maya_encoder, maya_encoder.cli; print(({HEAVY} | {{'torch'}}) & set(sys.modules))"
    )
    assert found == "set()"


def test_no_public_name_brings_a_framework():
    code = "import sys, maya_encoder as m; [getattr(m, name) for name in m.__all__]; "
    assert python(f"{code}print({HEAVY} & set(sys.modules))") == "set()"


def test_public_name_is_not_hidden_by_a_module_of_its_name():
    modules = "maya_encoder.prefix_states, maya_encoder.decoding.align, maya_encoder.heads.transducer_loss"
    names = "maya_encoder.unit_states, maya_encoder.align, maya_encoder.transducer_loss"
    assert python(f"import {modules}; print(all(map(callable, [{names}])))") == "True"


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'maya_encoder' has no attribute 'decode'"):
        _ = maya_encoder.decode


def test_names_are_listed():
    assert set(maya_encoder.__all__) <= set(dir(maya_encoder))
