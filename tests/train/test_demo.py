"""The demo's runner: what is done is kept, what fails is named, what changed is made again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from maya_bridge import gguf
from maya_train.compose import find_configs
from maya_train.demo import cli
from maya_train.demo import steps as runner
from maya_train.demo.config import load_demo_config
from maya_train.demo.memory import descendants_resident
from maya_train.demo.pipeline import pipeline
from maya_train.demo.steps import Ledger, Step, StepFailed, run_steps
from maya_train.errors import ConfigError
from maya_train.locks import only_writer


@pytest.fixture
def quiet(tmp_path):
    with (tmp_path / "console.txt").open("w") as file:
        yield Console(file=file, width=100)


def step(tmp_path, name: str, code: str = "", output: str | None = None) -> Step:
    """Appends its name to a log, and writes its output."""
    log = tmp_path / "log"
    out = tmp_path / (output or f"{name}.out")
    program = (
        f"open({str(log)!r}, 'a').write({name!r}); {code or f'open({str(out)!r}, chr(119)).write(chr(120))'}"
    )
    return Step(name=name, title=name, command=(sys.executable, "-c", program), outputs=(out,))


def ran(tmp_path) -> str:
    log = tmp_path / "log"
    return log.read_text() if log.exists() else ""


def test_steps_run_once_in_order_and_are_kept(tmp_path, quiet):
    steps = [step(tmp_path, name) for name in "abc"]
    for _ in range(2):
        run_steps(steps, Ledger.open(tmp_path / "steps.json"), quiet)
    assert ran(tmp_path) == "abc"


def test_a_failed_step_is_named_and_the_next_start_goes_on_there(tmp_path, quiet):
    broken = [step(tmp_path, "a"), step(tmp_path, "b", code="raise SystemExit(3)"), step(tmp_path, "c")]
    with pytest.raises(StepFailed, match="step b ended with status 3"):
        run_steps(broken, Ledger.open(tmp_path / "steps.json"), quiet)
    run_steps([step(tmp_path, name) for name in "abc"], Ledger.open(tmp_path / "steps.json"), quiet)
    assert ran(tmp_path) == "abbc"


def test_a_killed_step_is_named_with_its_signal(tmp_path, quiet):
    killed = step(tmp_path, "b", code="import os; os.kill(os.getpid(), 9)")
    with pytest.raises(StepFailed, match="step b was killed by SIGKILL"):
        run_steps([killed], Ledger.open(tmp_path / "steps.json"), quiet)


def test_a_changed_step_is_made_again_with_all_that_follow(tmp_path, quiet):
    run_steps([step(tmp_path, name) for name in "abc"], Ledger.open(tmp_path / "steps.json"), quiet)
    changed = [step(tmp_path, "a"), step(tmp_path, "b", output="b2.out"), step(tmp_path, "c")]
    run_steps(changed, Ledger.open(tmp_path / "steps.json"), quiet)
    assert ran(tmp_path) == "abcbc"


def test_a_step_whose_output_was_deleted_is_made_again(tmp_path, quiet):
    steps = [step(tmp_path, name) for name in "ab"]
    run_steps(steps, Ledger.open(tmp_path / "steps.json"), quiet)
    (tmp_path / "b.out").unlink()
    run_steps(steps, Ledger.open(tmp_path / "steps.json"), quiet)
    assert ran(tmp_path) == "abb"


def test_an_index_that_another_version_wrote_is_made_again(tmp_path, corpus):
    shutil.copytree(corpus / "index", tmp_path / "index" / "train")
    demo = load_demo_config(find_configs(), "demo_quick")
    index = next(s for s in pipeline(tmp_path, demo, 0, [], "joint") if s.name == "index-train")
    ledger = Ledger(tmp_path / "steps.json")
    ledger.record(index, 1.0, 0.1, finished=True)
    assert ledger.holds(index)

    info = tmp_path / "index" / "train" / "index.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"schema": 1}))
    assert not ledger.holds(index)


def test_a_torn_ledger_counts_as_empty(tmp_path):
    path = tmp_path / "steps.json"
    path.write_text('{"a": {"sec')
    assert Ledger.open(path).done == {}


def test_time_of_a_step_adds_up_over_its_starts(tmp_path):
    ledger = Ledger(tmp_path / "steps.json")
    one = step(tmp_path, "a")
    ledger.record(one, 2.0, 0.5, finished=False)
    assert not ledger.holds(one)
    ledger.record(one, 3.0, 0.25, finished=True)
    assert json.loads((tmp_path / "steps.json").read_text())["a"]["seconds"] == 5.0
    assert ledger.peak_gib == 0.5


def test_memory_of_all_descendants_is_counted():
    program = "import time; block = bytearray(80 * 2**20); print(len(block), flush=True); time.sleep(30)"
    nested = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {program!r}]).wait()"
    with subprocess.Popen([sys.executable, "-c", nested], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        resident = descendants_resident(os.getpid())
        subprocess.run(["pkill", "-P", str(process.pid)], check=True)
    assert resident > 80 * 2**20


def test_a_wrong_key_of_the_demo_is_named(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.yaml").write_text("sentence: 4\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml.*sentence.*sentences"):
        load_demo_config(tmp_path, "mine")


def test_every_step_writes_under_the_run_folder(tmp_path):
    demo = load_demo_config(find_configs(), "demo_quick")
    steps = pipeline(tmp_path, demo, 0, ["recipe=demo_quick"], "polish")
    assert [s.name for s in steps][:2] == ["synth", "index-train"]
    assert all(out.is_relative_to(tmp_path) for s in steps for out in s.outputs)


def test_a_missing_llm_package_is_answered_with_the_install_line_before_anything_is_made(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(gguf, "PACKAGE", "no_such_package")
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    status = cli.main(["recipe=demo_gemma3_270m", f"run_dir={tmp_path / 'run'}"])
    error = capsys.readouterr().err
    assert (status, error.count("\n")) == (2, 1)
    assert error.startswith("maya-demo: stage align: llm.source: gguf needs no_such_package,")
    assert error.endswith(f"install with: {sys.executable} -m {gguf.INSTALL}\n")
    assert not (tmp_path / "run").exists()


def wait_for(condition, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(condition())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_a_killed_demo_leaves_no_command_behind(tmp_path):
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    program = f"import sys; from maya_train.demo.steps import _call; _call([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", program]) as demo:
        assert wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
        demo.kill()
    pid = int((tmp_path / "pid").read_text())
    assert wait_for(lambda: not is_running(pid))


def start_child(program: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-c",
        f"import signal, sys, time\n{program}\nprint('.', flush=True); time.sleep(60)",
    ]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_an_interrupt_lets_the_command_save(tmp_path):
    saves = f"signal.signal(2, lambda *_: (open({str(tmp_path / 'saved')!r}, 'w'), sys.exit(75)))"
    with start_child(saves) as process:
        runner._interrupt(process)
    assert process.returncode == 75
    assert (tmp_path / "saved").is_file()


def test_a_command_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(runner, "GRACE_SECONDS", 0.1)
    with start_child("signal.signal(2, signal.SIG_IGN)") as process:
        runner._interrupt(process)
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def interruptible():
    """A shell's background jobs ignore SIGINT; here it interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_kills_the_command(interruptible):
    with start_child("signal.signal(2, signal.SIG_IGN)") as process:
        here = threading.get_ident()
        threading.Timer(0.3, lambda: signal.pthread_kill(here, signal.SIGINT)).start()
        runner._interrupt(process)
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def called(monkeypatch):
    """The steps that the command line comes to."""
    found = []
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli, "run_steps", lambda steps, *_: found.extend(steps))
    monkeypatch.setattr(cli, "write_results", lambda *_: None)
    return found


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path, called, capsys):
    with only_writer(tmp_path):
        assert cli.main(["recipe=demo_quick", f"run_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert (
        error
        == f"maya-demo: {tmp_path} is being written by another run; wait for it, or give another folder\n"
    )


def test_another_folder_of_configs_holds_for_all_steps(tmp_path, called):
    configs = tmp_path / "configs"
    shutil.copytree(find_configs(), configs)
    demo = configs / "demo" / "demo_quick.yaml"
    demo.write_text("langs: [en]\ntest: 77\n")
    status = cli.main(["recipe=demo_quick", f"run_dir={tmp_path / 'run'}", "--configs", str(configs)])
    assert status == 0
    commands = {step.name: step.command for step in called}
    assert commands["synth"][commands["synth"].index("--test") + 1] == "77"
    assert commands["train"][-2:] == ("--configs", str(configs))


def test_a_mistake_of_the_program_is_no_unknown_name(called, monkeypatch):
    def fail(*_):
        raise KeyError("bug")

    monkeypatch.setattr(cli, "compose", fail)
    with pytest.raises(KeyError):
        cli.main([])


def test_one_process_a_core_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert cli._processes([], 4) == ["devices=2", "grad_accum=2"]
    assert cli._processes(["devices=1"], 4) == []
