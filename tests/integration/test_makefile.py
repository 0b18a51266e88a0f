"""What `make` would run, by the words behind it."""

import sys

import pytest


@pytest.mark.parametrize(
    ("word", "recipe"),
    [("QUICK=", "demo"), ("QUICK=1", "demo_quick"), ("LLM=gemma3_270m", "demo_gemma3_270m")],
)
def test_make_demo_picks_the_recipe(run, word, recipe):
    done = run("make", "--dry-run", "demo", word, f"VENV={sys.prefix}")
    assert done.stdout.split()[-2:] == [f"{sys.prefix}/bin/maya-demo", f"recipe={recipe}"]
