"""Every command that the READMEs and the site show is run, or is the command that runs this very test."""

import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

ROOT = Path(__file__).resolve().parents[2]
IN_ORDER = ["packages/maya-data/README.md", "docs/data.md"]
"""Their commands build on files that they show; tests/data/test_readme.py runs them in order."""
EXAMPLES = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("examples/*/README.md"))
"""tests/examples runs their commands in copies of their folders."""
READMES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("packages/*/README.md"))]
PAGES = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))
DOCUMENTS = [path for path in READMES + PAGES if path not in IN_ORDER]
ELSEWHERE = {
    "make demo": "tests/integration/test_full_demo.py, marked long",
    "make demo QUICK=1": "the fixture quick_demo",
    "make demo LLM=gemma3_270m": "composed in tests/train/test_configs.py, picked in "
    "tests/integration/test_makefile.py; tests/integration/test_full_demo.py, marked long, where it can",
    "make test": "this is what runs the tests: .ci/run",
    "make test-all": "the same with the tests marked long",
    "fabric run packages/maya-train/run.py --devices 8": "tests/integration/test_fabric_run.py",
    "fabric run packages/maya-train/run.py --devices 8 stage=joint projector=qformer": "the same",
    "make wheels": "tests/integration/test_wheels.py builds them",
    "maya-serve --model runs/demo_quick/model --host 127.0.0.1 --port 8000": "tests/integration/test_site.py",
    "curl http://127.0.0.1:8000/v1/audio/transcriptions -F file=@runs/demo_quick/samples/hi.wav "
    "-F language=hi": "the same",
    "maya-train recipe=demo_quick stage=align projector=pair_gate projector.hidden_size=128 "
    "out_dir=runs/try_pair_gate": "the same, marked long",
}
LONG = {
    "maya-train export runs/demo_quick --to safetensors --license apache-2.0",
    "maya-train export runs/demo_quick --to hf --lang hi",
    "maya-train export runs/demo_quick --to onnx --lang hi",
    "torchrun --nproc-per-node 2 -m maya_eval.cli run --system maya-acoustic --set head=ctc --model "
    "runs/demo_quick/model --index runs/demo_quick/index/test --out runs/try_shared.jsonl",
    "maya-transcribe runs/demo_quick/samples --model runs/demo_quick/model --lang hi --decode ctc "
    "--output runs/try_texts --dask local:2",
}
"""tests/train/test_publish.py, tests/eval and tests/bridge test the same in less time."""
PREPARATION = ("git clone", "cd ", "pip install", "export ", "source ")
"""A user's own environment; .ci/run and test_wheels.py install the same packages."""


def commands(documents: Iterable[str] = DOCUMENTS) -> list[str]:
    """The lines of all ```bash blocks, each text once."""
    found = []
    for path in documents:
        text = (ROOT / path).read_text(encoding="utf-8")
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [line.split("  #")[0].strip() for line in lines if line.strip() and line[0] != "#"]
    return list(dict.fromkeys(" ".join(line.split()) for line in found))


def runnable() -> list[ParameterSet]:
    done = {*ELSEWHERE, *commands(IN_ORDER + EXAMPLES)}
    lines = [line for line in commands() if line not in done and not line.startswith(PREPARATION)]
    return [pytest.param(line, marks=[pytest.mark.long] if line in LONG else []) for line in lines]


def test_the_readme_shows_the_two_commands():
    assert {"make demo", "make test"} <= set(commands())


@pytest.mark.parametrize("path", READMES + PAGES)
def test_no_placeholder_is_left(path):
    assert "@@" not in (ROOT / path).read_text(encoding="utf-8")


def test_every_command_said_to_run_elsewhere_is_still_shown():
    shown = set(commands())
    assert {*ELSEWHERE, *LONG} <= shown


def test_the_tests_that_run_a_command_elsewhere_exist():
    for path in re.findall(r"tests/\S+\.py", " ".join(ELSEWHERE.values())):
        assert (ROOT / path).is_file(), path


@pytest.fixture(scope="module")
def clean_run_folders() -> None:
    """Commands that name their own folder start from nothing, as a reader's do; the demo's folders stay."""
    for folder in re.findall(r"\bout_dir=(runs/try\w*)", " ".join(commands())):
        shutil.rmtree(ROOT / folder, ignore_errors=True)


@pytest.mark.parametrize("command", runnable())
def test_command_of_a_readme_runs(command, quick_demo, clean_run_folders, run):
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    done = run(*words)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("path", READMES)
def test_every_path_that_a_readme_links_exists(path):
    folder = (ROOT / path).parent
    text = (ROOT / path).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (folder / target).exists(), target


def test_the_annotated_tree_names_real_files_only():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"```text\n(packages/.*?)```", text, re.DOTALL)[1]
    parents: list[str] = []
    for line in filter(str.strip, tree.splitlines()):
        depth = (len(line) - len(line.lstrip())) // 2
        name = re.split(r"\s{2,}", line.strip())[0]
        parents = [*parents[:depth], name]
        assert (ROOT / "".join(parents)).exists(), "".join(parents)
