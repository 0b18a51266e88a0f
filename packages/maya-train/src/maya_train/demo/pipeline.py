"""The demo's commands, from nothing to hypotheses: what a user would type, in this order."""

from collections.abc import Sequence
from pathlib import Path

from maya_train.demo.config import DemoConfig
from maya_train.demo.steps import Step

SETS = ("train", "valid", "test")
TRANSCRIBERS = {
    "ctc": ("maya-acoustic", "head=ctc"),
    "rnnt": ("maya-acoustic", "head=rnnt"),
    "llm": ("maya-llm", "decode=greedy"),
}
"""Head -> plugin that writes its text, and the setting of it. The first two never import transformers."""


def pipeline(
    run_dir: Path, demo: DemoConfig, seed: int, overrides: Sequence[str], last_stage: str
) -> list[Step]:
    """Returns the steps of one demo.

    Args:
        run_dir: folder that everything is written under.
        demo: what to make.
        seed: draws the sentences and who speaks them.
        overrides: `key=value` arguments of the training, the recipe among them.
        last_stage: name of the recipe's last stage, whose model is the finished one.
    """
    return [
        _synth(run_dir, demo, seed),
        *(_index(run_dir, demo, name) for name in SETS),
        _stats(run_dir, demo),
        _tokenizer(run_dir, demo),
        _train(run_dir, demo, overrides, last_stage),
        *(_transcribe(run_dir, demo, head, last_stage) for head in TRANSCRIBERS),
    ]


def _synth(run_dir: Path, demo: DemoConfig, seed: int) -> Step:
    sizes = {"sentences": demo.sentences, "words": demo.words, "valid": demo.valid, "test": demo.test}
    flags = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
    return Step(
        name="synth",
        title=f"speech in {len(demo.langs)} languages, as tar shards",
        command=(
            *("maya-data", "synth", str(run_dir / "data"), "--langs", *demo.langs),
            *(*flags, "--seed", str(seed)),
        ),
        outputs=tuple(run_dir / "data" / name for name in SETS),
        minutes=demo.minutes.get("synth"),
    )


def _index(run_dir: Path, demo: DemoConfig, name: str) -> Step:
    out = run_dir / "index" / name
    return Step(
        name=f"index-{name}",
        title=f"index of the {name} shards",
        command=("maya-data", "index", str(run_dir / "data" / name), "--out", str(out)),
        outputs=(out,),
        accepts=_opens,
        minutes=demo.minutes.get("index"),
    )


def _opens(index: Path) -> bool:
    """Whether this version of the programs can read an index, which another one may have written."""
    from maya_data.indexing.segments import open_index

    try:
        open_index(index)
    except (OSError, ValueError, KeyError):
        return False
    return True


def _stats(run_dir: Path, demo: DemoConfig) -> Step:
    page = run_dir / "stats.html"
    return Step(
        name="stats",
        title="statistics of the training speech",
        command=("maya-data", "stats", str(run_dir / "index" / "train"), "--html", str(page)),
        outputs=(page,),
        minutes=demo.minutes.get("stats"),
    )


def _tokenizer(run_dir: Path, demo: DemoConfig) -> Step:
    out = run_dir / "tokenizer"
    return Step(
        name="tokenizer",
        title="SentencePiece tokenizer of the training text",
        command=(
            *("maya-data", "tokenizer", str(run_dir / "index" / "train"), "--out", str(out)),
            *("--type", demo.model_type, "--script", demo.script),
        ),
        outputs=(out / "tokenizer.yaml",),
        minutes=demo.minutes.get("tokenizer"),
    )


def _train(run_dir: Path, demo: DemoConfig, overrides: Sequence[str], last_stage: str) -> Step:
    return Step(
        name="train",
        title="training, stage by stage",
        command=("maya-train", *overrides),
        outputs=(run_dir / last_stage / "model" / "config.yaml",),
        minutes=demo.minutes.get("train"),
    )


def _transcribe(run_dir: Path, demo: DemoConfig, head: str, last_stage: str) -> Step:
    out = run_dir / "hyps" / f"{head}.jsonl"
    transcriber, setting = TRANSCRIBERS[head]
    return Step(
        name=f"transcribe-{head}",
        title=f"transcripts of the test speech, head {head}",
        command=(
            *("maya-eval", "run", "--model", str(run_dir / last_stage / "model")),
            *("--index", str(run_dir / "index" / "test"), "--out", str(out)),
            *("--transcriber", transcriber, "--set", setting, "--batch-size", "60", "--clips", "0"),
        ),
        outputs=(out,),
        minutes=demo.minutes.get("transcribe"),
    )
