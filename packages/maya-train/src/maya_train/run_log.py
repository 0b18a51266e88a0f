"""The records of a stage: every one into a file of JSON lines, those of some steps to the loggers too."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from maya_train.gauges import flat
from maya_train.loggers import Logger, MissingPackage, make
from maya_train.loggers.background import Background
from maya_train.metrics_log import MetricsLog
from maya_train.plots import draw
from maya_train.schema import RunConfig


class RunLog(MetricsLog):
    """`metrics.jsonl`, the loggers, and `curves.html` at each validation and at the end."""

    def __init__(self, cfg: RunConfig, *, enabled: bool = True) -> None:
        folder = Path(cfg.out_dir)
        super().__init__(folder / "metrics.jsonl", enabled=enabled)
        self._cfg, self._folder = cfg, folder
        self._loggers: Background | None = None

    def __enter__(self) -> "RunLog":
        super().__enter__()
        if self._enabled:
            self._loggers = Background(
                open_loggers(self._cfg, self._folder), say, partial(draw, self._folder)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loggers is not None:
            self._loggers.close()
            self._loggers = None
        super().__exit__(kind, error, trace)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a step, or `{"event": "resume", "step": N}`."""
        super().write(record)
        if self._loggers is None:
            return
        step = int(record["step"])
        if record.get("event") == "resume":
            self._loggers.call(lambda logger: logger.resume(step))
        elif step % self._cfg.log_every == 0 or step == self._cfg.max_steps:
            self._pass_on(step, record)

    def validated(self, record: Mapping[str, Any]) -> None:
        """Pass a validation on, and draw the curves."""
        if self._loggers is not None:
            self._pass_on(int(record["step"]), {"valid": record})
            self._loggers.draw()

    def _pass_on(self, step: int, record: Mapping[str, Any]) -> None:
        assert self._loggers is not None
        numbers = flat(record)
        values = {name: value for name, value in numbers.items() if name not in ("step", "valid/step")}
        self._loggers.call(lambda logger: logger.write(step, values))


class ValidationLog(MetricsLog):
    """`validation.jsonl`, each line of which goes to the loggers of a RunLog too."""

    def __init__(self, log: RunLog, path: Path, *, enabled: bool = True) -> None:
        super().__init__(path, enabled=enabled)
        self._log = log

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the scores of a step."""
        super().write(record)
        self._log.validated(record)


def open_loggers(cfg: RunConfig, folder: Path) -> list[tuple[str, Logger]]:
    """Those of `cfg.loggers` that can be had; what is missing is said with its install line."""
    found = []
    for name in cfg.loggers:
        try:
            found.append((name, make(name, cfg, folder)))
        except MissingPackage as missing:
            say(f"{cfg.stage}: no {name}: {missing}")
        except Exception as error:  # no network, no login, no room: curves are no reason not to train
            say(f"{cfg.stage}: no {name}: {type(error).__name__}: {error}")
    return found


def say(text: str) -> None:
    """A line on the screen."""
    print(text, file=sys.stderr, flush=True)
