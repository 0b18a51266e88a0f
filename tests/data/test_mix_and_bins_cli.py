import json

import pytest
import yaml

from maya_data.cli import main
from maya_data.planning.plan import Plan, PlanConfig


def _write(path, text):
    path.write_text(text)
    return str(path)


def _explain(index, *options):
    return main(["mix", "explain", str(index.path), *options])


def test_the_file_decides_the_balance_and_options_overrule_it(index, tmp_path, capsys):
    config = _write(tmp_path / "mix.yaml", "mix: {alpha: 0.0}\nfilter: {langs: [hi, ta]}\n")
    made = str(tmp_path / "deep" / "made.json")
    assert _explain(index, "--config", config, "--json", made) == 0
    said = capsys.readouterr().out
    assert "left after filtering: 30 segments" in said
    assert "langs hi ta" in said
    with open(made) as file:
        read = json.load(file)
    assert {row["lang"]: round(row["share"], 3) for row in read["rows"]} == {"hi": 0.5, "ta": 0.5}
    assert {each["rule"]: each["segments"] for each in read["filter"]["removed"]}["langs hi ta"] == 40
    assert read["langs"]["hi"]["corpus"] == "tiny"
    assert _explain(index, "--config", config, "--policy", "natural", "--json", made) == 0
    with open(made) as file:
        assert {row["repeats"] for row in json.load(file)["rows"]} == {1.0}


@pytest.mark.parametrize(
    "text", ["alpha: 0.0", "plan: {batch_duration: 9.0, mix: {alpha: 0.0}}", "mix: {alpha: [1, 0]}"]
)
def test_a_file_may_hold_the_mix_alone_or_a_whole_plan(index, tmp_path, text):
    made = tmp_path / "made.json"
    assert _explain(index, "--config", _write(tmp_path / "mix.yaml", text), "--json", str(made)) == 0
    shares = [row["share"] for row in json.loads(made.read_text())["rows"]]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mix: {polcy: natural}", "`mix.polcy` is no setting; did you mean `mix.policy`?"),
        ("mix: {}\nfliter: {}", "`fliter` is no setting; did you mean `filter`?"),
        ("filter: {corpora: [huge]}", "`corpora` has 'huge'; the index has: tiny"),
        ("filter: {min_duration: 30.0}", "no segment of"),
        ("mix: {policy: weights, weights: {en: 1}}", "`weights` lacks 'hi'"),
        ("- mix", "mix.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(index, tmp_path, capsys, text, message):
    assert _explain(index, "--config", _write(tmp_path / "mix.yaml", text)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_bins_are_printed_and_make_the_table_of_a_plan(index, tmp_path, capsys):
    made = tmp_path / "bins.json"
    options = ["--buckets", "4", "--batch-duration", "5", "--json", str(made)]
    assert main(["bins", str(index.path), *options]) == 0
    assert "4 buckets" in capsys.readouterr().out
    read = json.loads(made.read_text())
    assert read["segments"] == sum(bucket["segments"] for bucket in read["buckets"]) == 70
    assert 0 < read["padding"] < 0.3
    edges = [bucket["max_duration"] for bucket in read["buckets"]]
    assert edges == sorted(edges)
    assert [bucket["batch_size"] for bucket in read["buckets"]] == [int(5 / edge + 1e-6) for edge in edges]
    settings = {"batch_duration": 5.0, "mix": {"policy": "natural"}}
    plans = [Plan(index, settings | more) for more in ({"buckets_file": made}, {"num_buckets": 4})]
    batches = [[plan.batch(0, step).tolist() for step in plan.steps(0)] for plan in plans]
    assert batches[0] == batches[1]


def test_bins_by_tokens_count_them_first(index, tmp_path):
    tokenizer, made = tmp_path / "tokenizer", tmp_path / "bins.json"
    options = ["--vocab-size", "50", "--type", "char", "--out", str(tokenizer)]
    assert main(["tokenizer", str(index.path), *options]) == 0
    options = ["--buckets", "3", "--tokenizer", str(tokenizer), "--token-buckets", "2", "--json", str(made)]
    assert main(["bins", str(index.path), *options]) == 0
    read = json.loads(made.read_text())
    assert index.token_counts(read["tokenizer"]) is not None
    assert all(bucket["max_tokens"] > 0 for bucket in read["buckets"])
    plan = Plan(index, PlanConfig(buckets_file=made, tokenizer=read["tokenizer"]))
    assert len(plan.steps(0)) > 0


def test_bins_take_a_plan_from_a_file(index, tmp_path):
    made = tmp_path / "bins.json"
    plan = {"plan": {"batch_duration": 7.0, "filter": {"langs": ["hi"]}}}
    config = _write(tmp_path / "plan.yaml", yaml.safe_dump(plan))
    assert main(["bins", str(index.path), "--config", config, "--buckets", "2", "--json", str(made)]) == 0
    read = json.loads(made.read_text())
    assert (read["segments"], read["batch_duration"]) == (20, 7.0)
