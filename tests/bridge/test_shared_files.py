"""Files that real processes share, of which one is killed with signal 9."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from maya_bridge.any_model import HeadsModel
from maya_bridge.cli import main

COUNT = 12
PATCH = """
import os
import signal
import time
from pathlib import Path

from maya_bridge.any_model import HeadsModel

transcribe = HeadsModel._transcribe


def mortal(self, items, *more):
    time.sleep(0.2)
    numbers = [round(len(item) / 800 - 6) for item in items]
    for marker in Path(os.environ["DEADLY"]).glob(f"{numbers[0]}.now"):
        marker.rename(marker.with_suffix(".done"))
        os.kill(os.getpid(), signal.SIGKILL)
    with open(os.environ["HEARD"], "a") as file:
        file.writelines(f"{number}\\n" for number in numbers)
    return transcribe(self, items, *more)


HeadsModel._transcribe = mortal
"""
RUN = "import sys, mortal; from maya_bridge.cli import main; sys.exit(main())"


@pytest.fixture
def audio(tmp_path, monkeypatch):
    """A dozen files told apart by their length, one that is none, and a model that dies where told to."""
    folder = tmp_path / "audio"
    (tmp_path / "site").mkdir()
    (tmp_path / "deadly").mkdir()
    folder.mkdir()
    noise = np.random.default_rng(0).normal(size=800 * (COUNT + 6)) * 0.1
    for number in range(COUNT):
        soundfile.write(folder / f"{number:02}.wav", noise[: 800 * (number + 6)], 16000)
    (folder / "03.wav").write_text("nobody says anything here")
    (tmp_path / "site" / "mortal.py").write_text(PATCH)
    (tmp_path / "site" / "run_mortal.py").write_text(RUN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("DEADLY", str(tmp_path / "deadly"))
    monkeypatch.setenv("HEARD", str(tmp_path / "heard"))
    return folder


@pytest.fixture
def arguments(audio, acoustic_folder, tmp_path):
    def make(output="out", *more):
        chosen = ["--model", acoustic_folder, "--lang", "hi", "--json", "--batch-size", 1, "--unit", 2]
        return [str(one) for one in [audio, *chosen, "--output", tmp_path / output, *more]]

    return make


def heard(tmp_path):
    return sorted(int(line) for line in (tmp_path / "heard").read_text().split())


READABLE = [number for number in range(COUNT) if number != 3]


def assert_same_as_one_process(arguments, tmp_path):
    """A transcript for each file, as one process writes it; nothing but the journal is left beside them."""
    alone = arguments("alone")
    del alone[alone.index("--unit") :][:2]
    assert main(alone) == 1
    shared, expected = (
        {path.name: path.read_text() for path in (tmp_path / name).glob("*.jsonl")}
        for name in ("out", "alone")
    )
    assert sorted(shared) == [f"{number:02}.jsonl" for number in READABLE]
    assert shared == expected
    assert [path.name for path in (tmp_path / "out").glob(".*")] == [".maya-transcribe.journal"]


def ranks(arguments):
    return [
        subprocess.Popen(
            [sys.executable, "-m", "run_mortal", *arguments()],
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]


def test_a_killed_rank_blocks_nobody_and_the_other_does_its_unit(arguments, tmp_path, capsys):
    (tmp_path / "deadly" / "7.now").touch()

    processes = ranks(arguments)
    said = [process.communicate(timeout=200)[1] for process in processes]

    codes = [process.returncode for process in processes]
    assert sorted(codes) == [-signal.SIGKILL, 0], said
    assert f"1 of {COUNT} failed: " in said[codes.index(0)]
    assert f"maya-transcribe: {tmp_path}/audio/03.wav" in said[codes.index(0)]
    assert heard(tmp_path) == READABLE  # what was noted of the unit is not heard again either
    assert_same_as_one_process(arguments, tmp_path)


@pytest.mark.long
def test_torchrun_starts_again_after_a_kill_and_goes_on(arguments, tmp_path):
    (tmp_path / "deadly" / "7.now").touch()
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]

    done = subprocess.run(
        [sys.executable, *launcher, "-m", "run_mortal", *arguments()], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "deadly").glob("*.done"))) == 1
    assert len(heard(tmp_path)) <= len(READABLE) + 1
    assert_same_as_one_process(arguments, tmp_path)


def test_a_dask_cluster_writes_the_same(arguments, tmp_path, capsys):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster:
        status = main(arguments("out", "--dask", cluster.scheduler_address))

    assert status == 1
    assert f"1 of {COUNT} failed: " in capsys.readouterr().err
    assert_same_as_one_process(arguments, tmp_path)


@pytest.mark.long
def test_a_dask_cluster_of_which_one_worker_is_killed(arguments, tmp_path, capsys):
    pytest.importorskip("distributed")
    import dask

    (tmp_path / "deadly" / "7.now").touch()
    with dask.config.set({"distributed.worker.preload": ["mortal"], "temporary-directory": str(tmp_path)}):
        status = main(arguments("out", "--dask", "local:2"))

    err = capsys.readouterr().err
    assert status == 1, err
    assert f"1 of {COUNT} failed: " in err
    assert len(list((tmp_path / "deadly").glob("*.done"))) == 1
    assert set(heard(tmp_path)) == set(READABLE)
    assert_same_as_one_process(arguments, tmp_path)


@pytest.fixture
def stopping(monkeypatch):
    """Stop with the Nth batch; the samples that were heard."""
    numbers, transcribe = [], HeadsModel._transcribe
    limit = [5]

    def stop(self, items, *more):
        if len(numbers) == limit[0]:
            raise KeyboardInterrupt
        numbers.extend(len(item) for item in items)
        return transcribe(self, items, *more)

    monkeypatch.setattr(HeadsModel, "_transcribe", stop)
    return numbers, limit


def test_what_is_noted_is_not_heard_again_after_a_stop(arguments, stopping, tmp_path, audio, capsys):
    numbers, limit = stopping
    assert main(arguments("out", "--shared")) == 130
    limit[0] = 100
    assert main(arguments("out", "--shared")) == 0
    assert sorted(numbers) == [800 * (number + 6) for number in READABLE]
    # The common journal knows all of it, so that another format is written without hearing anything.
    assert main([*arguments(), "--format", "srt"]) == 1
    assert len(numbers) == len(READABLE)
    (tmp_path / "out").joinpath("00.srt").unlink()
    assert_same_as_one_process(arguments, tmp_path)


def test_what_was_noted_counts_although_files_were_added_since(arguments, stopping, tmp_path, audio, capsys):
    numbers, limit = stopping
    assert main(arguments("out", "--shared")) == 130
    limit[0] = 100
    (audio / "00a.wav").write_bytes((audio / "00.wav").read_bytes())
    assert main(arguments("out", "--shared")) == 0
    assert len(numbers) == len(READABLE) + 1
    assert json.loads((tmp_path / "out" / "00a.jsonl").read_text())["duration"] == 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shared",), "`--output` or `--resume` must be given where several"),
        (
            ("--shared", "--fresh", "--resume", "j"),
            "`--fresh` cannot be shared by several processes; remove j",
        ),
        (("--shared", "--unit", "0", "--resume", "j"), "`--unit` must be 1 or more, got 0"),
        (("--dask", "head", "--resume", "j"), "like tcp://head:8786, or local:4, got 'head'"),
    ],
)
def test_wrong_usage_is_status_two(options, message, tone, acoustic_folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(tone), "--model", str(acoustic_folder), "--lang", "hi", *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("j*"))
