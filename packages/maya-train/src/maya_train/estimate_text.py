"""The plan of `maya-train plan` as tables."""

from rich.console import Console, Group
from rich.table import Table

from maya_train.estimate import GUIDE_DAYS, Estimate, StageCost
from maya_train.memory_estimate import STRATEGIES


def show(plan: Estimate, console: Console | None = None) -> None:
    """Print the plan."""
    (console or Console()).print(Group(*tables(plan)))


def tables(plan: Estimate) -> list[Table | str]:
    """The plan's tables and the lines between them."""
    hardware, speech = plan.hardware, plan.speech
    heard = f"utterances of {speech.seconds:.1f} s, {speech.tokens_a_second:.1f} tokens a second"
    peak = f"{hardware.peak / 1e12:,.3g} TFLOP/s"
    what = f"{hardware.devices} x {hardware.device} of {peak} at {hardware.mfu:.0%} MFU"
    found: list[Table | str] = [f"{plan.recipe}: {what}; {heard}", time_table(plan), memory_table(plan)]
    cores = max(stage.loader_cores for stage in plan.stages)
    found.append(
        f"Loader: {cores:.1f} cores for all processes, {cores / hardware.devices:.1f} each, where one decodes"
        f" {hardware.decode:,.0f} seconds of audio in one."
    )
    if any(stage.guide for stage in plan.stages):
        found.append(guide_table(plan))
    return found


def time_table(plan: Estimate) -> Table:
    """Operations, steps and days by stage."""
    caption = "h, PFLOP, s: of a step; GFLOP/s: of a second of audio; h/h: hours of audio an hour"
    table = Table(title="Time", caption=caption)
    table.add_column("stage")
    for name in ("steps", "h", "GFLOP/s", "PFLOP", "s", "h/h", "days", "epochs"):
        table.add_column(name, justify="right")
    for stage in plan.stages:
        table.add_row(*_time_row(stage))
    total = sum(stage.days for stage in plan.stages)
    table.add_row("all", *[""] * 6, _days(total), "", style="bold")
    return table


def _time_row(stage: StageCost) -> list[str]:
    return [
        stage.stage,
        f"{stage.steps:,}",
        f"{stage.audio_hours_a_step:.3g}",
        f"{stage.gflops_an_audio_second:.3g}",
        f"{stage.pflops_a_step:.3g}",
        f"{stage.seconds_a_step:.3g}",
        f"{stage.audio_hours_an_hour:,.0f}",
        _days(stage.days),
        "-" if stage.epochs is None else f"{stage.epochs:.1f}",
    ]


def memory_table(plan: Estimate) -> Table:
    """GiB of one process by stage and strategy, activations counted."""
    memory = plan.hardware.memory
    table = Table(title=f"Memory of a process, GiB (of {memory:.0f}); * does not fit")
    table.add_column("stage")
    for name in (*STRATEGIES, "activations"):
        table.add_column(name, justify="right")
    for stage in plan.stages:
        needs = [stage.state_gib[name] + stage.activation_gib for name in STRATEGIES]
        cells = [f"{need:.1f}{'' if need < memory else ' *'}" for need in needs]
        table.add_row(stage.stage, *cells, f"{stage.activation_gib:.1f}")
    return table


def guide_table(plan: Estimate) -> Table:
    """Beside the guide's own table."""
    table = Table(title="Beside the build guide's own table")
    for name in (
        "stage",
        "steps",
        "s/step: guide",
        "here",
        "days: guide",
        "here",
        "the guide's MFU for this step",
    ):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in plan.stages:
        if stage.guide is not None and stage.guide_mfu is not None:
            guide, (low, high) = stage.guide, stage.guide_mfu
            table.add_row(
                stage.stage,
                f"{guide.steps:,}",
                _range(guide.seconds_a_step),
                f"{stage.seconds_a_step:.3g}",
                _range(guide.days),
                _days(stage.days),
                f"{low:.0%}" if round(low, 2) == round(high, 2) else f"{low:.0%} to {high:.0%}",
            )
    total = sum(stage.days for stage in plan.stages)
    table.add_row("all", "", "", "", _range(GUIDE_DAYS), _days(total), "", style="bold")
    return table


def _range(pair: tuple[float, float]) -> str:
    return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g} to {pair[1]:g}"


def _days(days: float) -> str:
    return f"{days:.2f}" if days >= 0.1 else f"{days * 24:.2f} h"
