"""Everything that the package's README tells to type is typed here, in its order, in an empty folder.

The site's page on data comes after it: what both say is typed once.
"""

import io
import json
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from maya_data.cli import main
from maya_data.export import export_nemo, export_shar
from maya_data.indexing.build import build_index
from maya_data.indexing.segments import open_index
from maya_data.readers.final_export import FinalExport

ROOT = Path(__file__).parents[2]
README = ROOT / "packages" / "maya-data" / "README.md"
PAGE = ROOT / "docs" / "data.md"
FEWER = {"1000000": "10000"}
"""Numbers of the README that would take minutes here."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)

for package in ("espeakng_loader", "babel", "indic_numtowords"):
    pytest.importorskip(package)

# What runs here leaves files of lhotse and processes of the loader to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def sound(seconds=0.5, seed=0, form="FLAC"):
    samples = np.random.default_rng(seed).normal(0, 2000, round(seconds * 16000)).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16000, format=form)
    return buffer.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def make_sources(data, write_shard):
    """Two or three segments of every layout that the README's sources name."""
    for lang in ("hi", "en"):
        write_shard(data / "shards" / f"lang={lang}" / "0", [0.4, 0.5])
    index = build_index(FinalExport(root=str(data / "shards")), data / "index")
    export_nemo(index, data / "nemo_tarred")
    export_shar(index, data / "shar")
    recordings = [{"bytes": sound(seed=n), "path": f"{n}.flac"} for n in range(2)]
    (data / "indicvoices").mkdir()
    table = {"audio": recordings, "text": ["एक", "दो"], "id": ["iv0", "iv1"]}
    pq.write_table(pa.table(table), data / "indicvoices" / "train.parquet")
    clips = data / "cv-corpus" / "hi"
    write(clips / "clips" / "c0.mp3", sound(0.6, form="MP3"))
    write(clips / "train.tsv", 'client_id\tpath\tsentence\tlocale\ns0\tc0.mp3\tएक "दो\thi\n')
    write(data / "LJSpeech-1.1" / "wavs" / "LJ001.wav", sound(form="WAV"))
    write(data / "LJSpeech-1.1" / "metadata.csv", "LJ001|in 1999|in nineteen ninety nine\n")
    write(data / "nemo" / "a.wav", sound(form="WAV"))
    line = {"audio_filepath": "a.wav", "duration": 0.5, "text": "तीन", "lang": "hi"}
    write(data / "nemo" / "train_manifest.json", json.dumps(line) + "\n")
    write(data / "noise" / "n.wav", sound(2.0, form="WAV"))
    make_cuts(data / "lhotse")


def make_cuts(folder):
    from lhotse import CutSet, Recording, SupervisionSegment

    write(folder / "b.flac", sound(0.7))
    recording = Recording.from_file(folder.absolute() / "b.flac")
    cut = recording.to_cut()
    spoken = {"text": "चार", "language": "hi", "start": 0.0, "duration": cut.duration}
    cut.supervisions = [SupervisionSegment(id="b", recording_id=recording.id, **spoken)]
    CutSet.from_cuts([cut]).to_file(folder / "cuts.jsonl.gz")


def typed():
    """The blocks of README and page in their order; of the page's commands those that the README has not."""
    seen = set()
    for kind, content in BLOCK.findall(README.read_text("utf-8") + PAGE.read_text("utf-8")):
        if kind in ("yaml", "python") and content not in seen:
            yield kind, content
        elif kind == "bash":
            yield kind, "\n".join(line for line in content.splitlines() if line not in seen)
        seen.update([content, *content.splitlines()])


def play(kind, content, names):
    """Do what one block says."""
    if kind == "yaml":
        write(Path(content.split("\n", 1)[0].removeprefix("# ")), content)
    elif kind == "python":
        exec(compile(content, str(README), "exec"), names)
    else:
        for command in content.splitlines():
            program, *arguments = (FEWER.get(word, word) for word in shlex.split(command))
            assert program == "maya-data"
            try:
                status = main(arguments)
            except SystemExit as error:  # an option that is not there
                status = error.code
            assert status == 0, command


@pytest.fixture(scope="module")
def played(tmp_path_factory, write_shard):
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LHOTSE_AUDIO_BACKEND", "LibsndfileBackend")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        make_sources(Path("data"), write_shard)
        names = {}
        for kind, content in typed():
            play(kind, content, names)
    return folder


def test_every_command_and_snippet_runs(played):
    runs = played / "runs"
    assert json.loads((runs / "verify.json").read_text())["bad"] == []
    assert json.loads((runs / "stats.json").read_text())["segments"] == len(open_index(runs / "index"))
    assert (runs / "stats.html").read_text().startswith("<!doctype html>")
    assert soundfile.info(runs / "segment.wav").samplerate == 16000
    assert (runs / "tokenizer" / "tokenizer.yaml").is_file()
    assert (runs / "nemo" / "audio_0.tar").is_symlink()
    assert (runs / "shar" / "recording.000000.tar").is_file()
    assert len(open_index(runs / "big_index")) == 10_000
    assert [source["name"] for source in open_index(runs / "two_sources").info["sources"]] == [
        "studio",
        "street",
    ]


def test_every_source_of_the_readme_is_indexed(played):
    index = open_index(played / "runs" / "all")

    sizes = {source["name"]: 0 for source in index.info["sources"]}
    names = list(sizes)
    for i in range(len(index)):
        sizes[names[index.source(i)]] += 1
    assert index.info["broken"] == {}
    assert sizes == {
        **{"shards": 4, "indicvoices": 2, "common_voice": 1, "ljspeech": 1, "manifests": 1},
        **{"tarred": 4, "mixture": 4, "cuts": 1, "shar": 4},
    }


def test_every_installed_reader_is_in_the_readme():
    text = README.read_text("utf-8")
    table = text[text.index("| reader |") : text.index("All take `root`")]

    ours = {
        point.name for point in entry_points(group="maya.readers") if point.value.startswith("maya_data.")
    }
    assert ours <= set(re.findall(r"`(\w+)`", table))
    assert ours == set(re.findall(r"reader: (\w+)", text))


def test_every_link_of_the_readme_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text("utf-8"))

    assert links
    assert [link for link in links if "://" not in link and not (README.parent / link).exists()] == []
