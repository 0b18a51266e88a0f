"""The whole suite's time limit; everything else is in the folders' own conftest files."""

import time

import pytest

LIMIT_MINUTES = 20
"""`make test` fails over this; `make test-all` has no limit."""

_started = time.monotonic()


def _minutes() -> float:
    return (time.monotonic() - _started) / 60


def _limited(config: pytest.Config) -> bool:
    worker = hasattr(config, "workerinput")
    return not worker and "not long" in config.getoption("markexpr")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if _limited(session.config) and _minutes() > LIMIT_MINUTES and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    line = f"the tests took {_minutes():.1f} minutes"
    if _limited(terminalreporter.config):
        line += f" of at most {LIMIT_MINUTES}"
    over = _limited(terminalreporter.config) and _minutes() > LIMIT_MINUTES
    terminalreporter.write_sep("=", line + (": TOO LONG" if over else ""), red=over)
