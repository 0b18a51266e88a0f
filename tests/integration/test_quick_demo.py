"""`make demo QUICK=1` from shards to scores: what it writes, and that the figures repeat."""

import json
import re

LANGS = {"en", "hi", "ta"}
HEADS = {"ctc", "rnnt", "llm"}


def test_summary_has_every_language_and_head_with_its_control(quick_demo):
    summary = json.loads((quick_demo / "summary.json").read_text())
    cells = {(row["lang"], row["head"], row["split"]) for row in summary["rows"]}
    assert cells == {(lang, head, split) for lang in LANGS for head in HEADS for split in ("test", "control")}
    assert all(row["utterances"] >= 50 for row in summary["rows"])
    assert {"llm", "encoder", "align", "joint", "polish"} <= set(summary["seconds"])
    assert 0 < summary["peak_gib"] < 6
    assert summary["versions"]["maya-encoder"] == "0.2.0"


def test_the_model_hears_the_audio_and_the_control_does_not(quick_demo):
    """A few hundred steps are too few for words; characters already show who listens."""
    rows = json.loads((quick_demo / "summary.json").read_text())["rows"]

    def mean(rate: str, head: str, split: str) -> float:
        return sum(r[rate] for r in rows if (r["head"], r["split"]) == (head, split)) / len(LANGS)

    assert all(mean("wer", head, "control") > 0.8 for head in HEADS)
    for head in ("ctc", "llm"):
        assert mean("cer", head, "test") < mean("cer", head, "control") - 0.03


def test_score_command_gives_the_figures_of_the_summary_again(quick_demo, run, tmp_path):
    summary = json.loads((quick_demo / "summary.json").read_text())
    for head in HEADS:
        out = tmp_path / f"{head}.json"
        done = run("maya-eval", "score", str(quick_demo / "hyps" / f"{head}.jsonl"), "--json", str(out))
        assert done.returncode == 0, done.stderr
        scored = {row["lang"]: (row["wer"], row["cer"]) for row in json.loads(out.read_text())["rows"]}
        rows = [r for r in summary["rows"] if (r["head"], r["split"]) == (head, "test")]
        assert scored == {row["lang"]: (row["wer"], row["cer"]) for row in rows}


def test_hypotheses_hold_what_anyone_needs_to_score_them(quick_demo):
    lines = (quick_demo / "hyps" / "llm.jsonl").read_text(encoding="utf-8").splitlines()
    for line in map(json.loads, lines):
        assert {"utt_id", "lang", "text", "pred_text", "duration"} <= line.keys()
    hindi = [line["pred_text"] for line in map(json.loads, lines) if line["lang"] == "hi"]
    assert sum(bool(re.search(r"[\u0900-\u097f]", text)) for text in hindi) > len(hindi) / 2


def test_no_test_sentence_and_no_test_voice_is_in_training(quick_demo):
    from maya_data.indexing.segments import SegmentIndex

    sets = {name: SegmentIndex.open(quick_demo / "index" / name) for name in ("train", "valid", "test")}
    rows = {name: [index.row(i) for i in range(len(index))] for name, index in sets.items()}
    for other in ("train", "valid"):
        assert not {r.text for r in rows["test"]} & {r.text for r in rows[other]}
        assert not {r.speaker for r in rows["test"]} & {r.speaker for r in rows[other]}
    words = {(r.lang, word) for r in rows["train"] for word in r.text.split()}
    assert {(r.lang, word) for r in rows["test"] for word in r.text.split()} <= words


def test_report_is_one_offline_page_with_audio(quick_demo):
    page = (quick_demo / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") >= len(LANGS)
    assert "data:audio" in page
    assert not re.search(r"""(src|href)=["']https?://""", page)


def test_a_sample_of_each_language_can_be_played(quick_demo):
    import soundfile

    for lang in LANGS:
        info = soundfile.info(quick_demo / "samples" / f"{lang}.wav")
        assert info.samplerate == 16_000
        assert info.duration > 0.5


def test_finished_model_is_taken_by_every_command_that_takes_a_model(quick_demo, run):
    sample, model = str(quick_demo / "samples" / "hi.wav"), str(quick_demo / "model")
    commands = [
        ("maya-transcribe", sample, "--model", model, "--lang", "hi"),
        ("maya-transcribe", sample, "--model", model, "--lang", "hi", "--decode", "ctc"),
        ("maya-encoder", "transcribe", sample, "--model", model, "--lang", "hi", "--head", "rnnt"),
    ]
    outputs = [run(*command) for command in commands]
    assert [done.returncode for done in outputs] == [0, 0, 0], [done.stderr for done in outputs]
    for done in outputs[:2]:  # so short a training may leave the transducer silent
        assert re.search(r"[\u0900-\u097f]", done.stdout)


def test_run_again_the_demo_reuses_what_is_done(quick_demo, run):
    before = (quick_demo / "hyps" / "ctc.jsonl").stat().st_mtime_ns
    done = run("maya-demo", "recipe=demo_quick")
    assert done.returncode == 0, done.stderr
    assert (quick_demo / "hyps" / "ctc.jsonl").stat().st_mtime_ns == before
    assert done.stdout.count("done") >= 8


def test_a_demo_that_does_not_exist_is_named(run):
    done = run("maya-demo", "recipe=maya_8xh100")
    assert done.returncode == 2
    assert "no demo of that name" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
