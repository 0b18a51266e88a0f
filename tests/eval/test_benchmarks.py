from pathlib import Path

import pytest

from maya_eval.benchmarks import BenchmarkError, available_benchmarks, load_benchmark

SHIPPED = ("common_voice", "fleurs", "indicvoices", "kathbath", "kathbath_noisy", "lahaja", "librispeech")
SHIPPED += ("nemo", "svarah", "vistaar")
VISTAAR = {"Kathbath": 12, "Kathbath Hard": 12, "FLEURS": 11, "CommonVoice": 8, "IndicTTS": 9, "MUCS": 6}
VISTAAR |= {"Gramvaani": 1}
CONFIG = 'name: B\nwhere: "https://example.org"\nroot: /data\nreader: {name: nemo}\n'


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_benchmark_says_where_it_is_to_be_had(name, tmp_path):
    benchmark = load_benchmark(name, root=tmp_path / "none")
    assert benchmark.parts
    with pytest.raises(BenchmarkError, match=r"none\S* is missing; it is to be had at") as caught:
        benchmark.open()
    assert benchmark.where in str(caught.value)


def test_the_wheel_carries_the_same_files_as_the_repository():
    package = Path(__file__).parents[2] / "packages" / "maya-eval" / "src" / "maya_eval" / "configs"
    repository = Path(__file__).parents[2] / "configs" / "benchmark"
    assert {path.name for path in (package / "benchmark").iterdir()} == {p.name for p in repository.iterdir()}


def test_vistaar_has_all_its_59_sets():
    benchmark = load_benchmark("vistaar")
    counts = {}
    for part in benchmark.parts:
        counts[part.label] = counts.get(part.label, 0) + 1
    assert counts == {f"Vistaar/{name}": count for name, count in VISTAAR.items()}
    assert len(benchmark.parts) == 59


def test_a_set_is_chosen_by_its_name_or_its_label():
    for name in ("clean", "LibriSpeech-clean"):
        (part,) = load_benchmark("librispeech", root="/d", sets=[name]).parts
        assert (part.label, part.folder) == ("LibriSpeech-clean", "/d/test-clean")
    with pytest.raises(BenchmarkError, match="no cleen in it; its sets are clean, other"):
        load_benchmark("librispeech", sets=["cleen", "other"])


def test_texts_are_filled_in_and_other_braces_stay():
    benchmark = load_benchmark("vistaar", root="/d", langs=["or"], sets=["Kathbath Hard"])
    (part,) = benchmark.parts
    assert part.folder == "/d/kathbath_noisy/odia"
    assert part.reader["root"] == "/d/kathbath_noisy/odia"
    assert part.reader["audio"] == "audio/{id}"
    assert part.reader["lang"] == "or"
    assert benchmark.several


def test_the_choice_of_parts_does_not_change_the_fingerprint():
    whole, part = load_benchmark("fleurs"), load_benchmark("fleurs", langs=["hi"])
    assert whole.fingerprint == part.fingerprint
    assert whole.fingerprint != load_benchmark("kathbath").fingerprint


def test_a_folder_of_configs_can_be_named(tmp_path):
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "mine.yaml").write_text(CONFIG)
    assert list(available_benchmarks(tmp_path)) == ["mine"]
    assert load_benchmark("mine", configs=tmp_path).name == "B"


def test_the_environment_says_where_benchmarks_lie(monkeypatch):
    monkeypatch.setenv("MAYA_BENCHMARKS", "/mnt/sets")
    assert load_benchmark("svarah").root == "/mnt/sets/svarah"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("folders: x\n", "no key 'folders' here; did you mean 'folder'?"),
        ("sets: {a: {lang: [hi]}}\n", "sets.a: no key 'lang' here; did you mean 'langs'?"),
        ("root: ''\n", "no value given for `root`"),
        ("root: ${oc.env:NO_SUCH_VARIABLE}\n", "NO_SUCH_VARIABLE"),
        ("reader: {files: x}\n", "no value given for `reader.name`"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, change, message):
    path = tmp_path / "b.yaml"
    key = change.split(":")[0]
    kept = [line for line in CONFIG.splitlines(True) if not line.startswith(f"{key}:")]
    path.write_text("".join(kept) + change)
    with pytest.raises(BenchmarkError) as caught:
        load_benchmark(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "name: [unclosed\n"])
def test_what_is_no_benchmark_is_named(tmp_path, content):
    (tmp_path / "b.yaml").write_text(content)
    with pytest.raises(BenchmarkError, match=r"b\.yaml: "):
        load_benchmark(tmp_path / "b.yaml")


def test_an_unknown_name_gets_the_nearest(tmp_path):
    with pytest.raises(BenchmarkError, match=r"no benchmark 'fleur'.*did you mean 'fleurs'"):
        load_benchmark("fleur")


def test_a_reader_that_is_not_installed_is_named_with_the_install_line(tmp_path):
    (tmp_path / "b.yaml").write_text(CONFIG.replace("nemo", "no_such_reader").replace("/data", str(tmp_path)))
    with pytest.raises(BenchmarkError, match=r"needs the reader 'no_such_reader'.*pip install -U"):
        load_benchmark(tmp_path / "b.yaml").open()


def test_an_unknown_setting_of_a_reader_is_named(tmp_path):
    pytest.importorskip("maya_data")
    text = CONFIG.replace("{name: nemo}", "{name: final_export, rot: x}").replace("/data", str(tmp_path))
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(
        BenchmarkError, match="reader 'final_export' has no setting 'rot'; did you mean 'root'"
    ):
        load_benchmark(tmp_path / "b.yaml").open()
