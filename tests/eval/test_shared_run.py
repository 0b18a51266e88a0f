"""A run that real processes share, of which one is killed with signal 9."""

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from maya_eval.cli import main
from maya_eval.dask_fleet import fleet, results
from maya_eval.hypotheses import read_hypotheses
from maya_eval.sharing import Part, result_of
from maya_eval.sources import Source
from maya_eval.units import join, member

COUNT = 24
PLUGINS = """
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np


@dataclass(kw_only=True)
class Tones:
    name: str = "tones"
    root: str | None = None
    lang: str | None = None

    def build(self):
        for i in range(24):
            samples = np.full(160 * (i + 1), 1000, dtype=np.int16)
            row = {"id": f"u{i}", "lang": "hi", "text": "a", "duration": 0.01 * (i + 1)}
            yield row | {"audio": {"array": samples if i != 5 else samples[:0], "sampling_rate": 16000}}


@dataclass(kw_only=True)
class Mortal:
    name: str = "mortal"

    def build(self, model, device):
        with open(os.environ["HEARD"] + ".devices", "a") as file:
            file.write(device + "\\n")
        return self

    def transcribe(self, audio, langs, batch_size):
        time.sleep(0.1)
        numbers = [len(samples) // 160 - 1 for samples in audio]
        for marker in Path(os.environ["DEADLY"]).glob(f"{numbers[0]}*"):
            if marker.suffix != ".done":
                marker.rename(marker.with_suffix(".done"))
                os.kill(os.getpid(), signal.SIGKILL)
        with open(os.environ["HEARD"], "a") as file:
            file.writelines(f"{number}\\n" for number in numbers)
        return [SimpleNamespace(text=f"{number} heard") for number in numbers]
"""


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    """Two dozen utterances, of which one cannot be read, and a transcriber that dies where it is told to."""
    site = tmp_path / "site"
    info = site / "mortal-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "mortal_plugins.py").write_text(PLUGINS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mortal\nVersion: 1.0\n")
    points = (
        "[maya.readers]\ntones = mortal_plugins:Tones\n[maya.transcribers]\nmortal = mortal_plugins:Mortal\n"
    )
    (info / "entry_points.txt").write_text(points)
    (tmp_path / "deadly").mkdir()
    (tmp_path / "data").mkdir()
    path = tmp_path / "tones.yaml"
    path.write_text(
        f"name: Tones\nwhere: here\nroot: {tmp_path / 'data'}\nreader: {{name: tones, lang: hi}}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("HEARD", str(tmp_path / "heard"))
    monkeypatch.setenv("DEADLY", str(tmp_path / "deadly"))
    monkeypatch.syspath_prepend(site)
    yield path
    sys.modules.pop("mortal_plugins", None)


def arguments(benchmark, out="h.jsonl"):
    chosen = ["--system", "mortal", "--model", "m", "--benchmark", str(benchmark), "--batch-size", "1"]
    return ["run", *chosen, "--clips", "0", "--unit", "2", "--out", str(benchmark.parent / out)]


def start(benchmark, *launcher, **environment):
    command = [sys.executable, *launcher, "-m", "maya_eval.cli", *arguments(benchmark)]
    return subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ranks(benchmark):
    return [
        start(benchmark, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), OMP_NUM_THREADS="1")
        for rank in (0, 1)
    ]


def deadly(benchmark, *numbers):
    for number in numbers:
        (benchmark.parent / "deadly" / f"{number}.now").touch()


def heard(benchmark):
    return [int(line) for line in (benchmark.parent / "heard").read_text().split()]


def assert_same_as_one_process(benchmark):
    """Each utterance once, in order, with the text of one process; nothing is left beside the output."""
    shared = read_hypotheses(benchmark.parent / "h.jsonl")
    (benchmark.parent / "heard").unlink()
    assert main(arguments(benchmark, "alone.jsonl")) == 0
    alone = read_hypotheses(benchmark.parent / "alone.jsonl")
    assert [(row.utt_id, row.pred_text, row.extra) for row in shared] == [
        (row.utt_id, row.pred_text, row.extra) for row in alone
    ]
    assert len(shared) == COUNT - 1
    assert not list(benchmark.parent.glob("*.units"))


def test_torchrun_starts_again_after_a_kill_and_goes_on(benchmark):
    deadly(benchmark, 20)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]

    process = start(benchmark, *launcher)
    out, err = process.communicate(timeout=200)

    assert process.returncode == 0, err[-3000:]
    assert "Signal 9 (SIGKILL)" in err or "exitcode: -9" in err
    assert f"{COUNT - 1} utterances transcribed, 0 were there" in out
    assert "u5: holds no sound" in err
    assert "score" in err
    # What both had begun when one was killed is heard again, nothing else is.
    assert len(heard(benchmark)) <= COUNT + 3
    assert_same_as_one_process(benchmark)


def test_a_killed_rank_blocks_nobody_and_the_other_does_its_unit(benchmark):
    deadly(benchmark, 6)  # of the second rank, which begins with every other unit of two

    processes = ranks(benchmark)
    said = [process.communicate(timeout=100) for process in processes]

    codes = [process.returncode for process in processes]
    assert sorted(codes) == [-signal.SIGKILL, 0], said
    assert f"{COUNT - 1} utterances transcribed, 0 were there" in said[codes.index(0)][0]
    assert sorted(heard(benchmark)) == [number for number in range(COUNT) if number != 5]
    assert_same_as_one_process(benchmark)


def test_finished_units_are_not_decoded_again_when_all_were_killed(benchmark, capsys):
    deadly(benchmark, 9)
    killed = start(benchmark, WORLD_SIZE="2")
    killed.communicate(timeout=100)
    before = heard(benchmark)
    assert killed.returncode == -signal.SIGKILL
    assert 4 <= len(before) < COUNT - 1
    assert not (benchmark.parent / "h.jsonl").exists()
    assert len(list(benchmark.parent.glob("h.jsonl.*-2.units"))) == 1

    # Units keep the size that they were begun with.
    assert main([*arguments(benchmark), "--shared", "--unit", "7"]) == 0

    again = heard(benchmark)[len(before) :]
    assert set(before) & set(again) <= {8}  # the unit in which it was killed
    assert f"{COUNT - 1} utterances transcribed, 0 were there" in capsys.readouterr().out
    assert_same_as_one_process(benchmark)


def test_what_is_in_the_output_is_not_done_again(benchmark, capsys):
    out = benchmark.parent / "h.jsonl"
    assert main(arguments(benchmark)) == 0
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:10]))
    (benchmark.parent / "heard").unlink()

    assert main([*arguments(benchmark), "--shared"]) == 0

    assert sorted(heard(benchmark)) == list(range(11, COUNT))
    assert "13 utterances transcribed, 10 were there" in capsys.readouterr().out
    assert_same_as_one_process(benchmark)


def test_a_dask_cluster_of_which_one_worker_is_killed(benchmark, capsys):
    distributed = pytest.importorskip("distributed")
    deadly(benchmark, 12)
    folder = str(benchmark.parent / "dask")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=folder
    ) as cluster:
        status = main([*arguments(benchmark), "--dask", cluster.scheduler_address])

    assert status == 0
    assert len(list((benchmark.parent / "deadly").glob("*.done"))) == 1
    assert f"{COUNT - 1} utterances transcribed, 0 were there" in capsys.readouterr().out
    assert_same_as_one_process(benchmark)


def _deadly_work(orders, unit):
    from distributed.scheduler import KilledWorker

    if unit == "deadly":
        raise KilledWorker("task", SimpleNamespace(address="tcp://x:1"), 3)
    return orders + unit


def test_a_unit_that_kills_every_worker_is_given_up_when_the_others_are_done():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        fleet(cluster.scheduler_address) as client,
    ):
        found = results(client, _deadly_work, "a", {0: "x", 1: "deadly", 2: "y"})
        assert sorted([next(found), next(found)]) == [(0, "ax"), (2, "ay")]
        with pytest.raises(ConnectionError, match="1 unit was given up"):
            next(found)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("head", "must be an address like tcp://head:8786, or local:4, got 'head'"),
        ("local:0", "got 'local:0'"),
    ],
)
def test_a_wrong_dask_address_is_one_sentence(benchmark, capsys, address, message):
    pytest.importorskip("distributed")
    assert main([*arguments(benchmark), "--dask", address]) == 2
    assert message in capsys.readouterr().err


def test_a_worker_that_sees_other_data_is_found_out():
    with pytest.raises(ValueError, match="this process sees other data"):
        result_of(None, Source([], "f"), Part([0], ["u0"], {}), 1)


def test_the_rank_chooses_the_accelerator(monkeypatch):
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    me = member()
    assert (me.rank, me.world) == (5, 8)
    assert [me.device(asked) for asked in ("cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:0", "cpu"]
    monkeypatch.delenv("LOCAL_RANK")
    assert member().device("cuda") == "cuda"
    monkeypatch.setenv("RANK", "8")
    with pytest.raises(ValueError, match=r"as torchrun sets them, got .*'RANK': '8'"):
        member()


def test_a_result_of_which_all_is_merged_is_dropped(tmp_path):
    units = join(tmp_path / "out", "run", items=5, size=2)
    late = join(tmp_path / "out", "run", items=5, size=4)
    with units, late:
        assert [list(units.span(number)) for number in range(units.count)] == [[0, 1], [2, 3], [4]]
        for number in units.claimed(range(3)):
            units.write(number, json.dumps(number))
        assert (late.folder, late.size, late.unfinished(range(3))) == (units.folder, 2, [])
        assert units.falls_to_me()
        units.remove()
        late.write(0, "late")
        assert (late.gone, late.falls_to_me(), list(late.claimed(range(3)))) == (True, False, [])
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys, time
from pathlib import Path
from maya_eval.units import join
with join(Path(sys.argv[1]), "run", items=3, size=1) as units:
    for number in units.claimed(range(3)):
        print(number, flush=True)
        time.sleep(100)
"""


def test_a_claim_ends_with_its_process(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    done = []
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other,
        join(tmp_path / "out", "run", items=3, size=1) as units,
    ):
        try:
            assert other.stdout.readline() == "0\n"
            for number in units.claimed(range(3)):
                done.append(number)
                units.write(number, "")
                if len(done) == 2:
                    assert done == [1, 2]
                    assert not units.path(0).exists()
                    other.kill()
        finally:
            other.kill()
    assert done == [1, 2, 0]
