"""ZeRO of DeepSpeed: optimizer state, then gradients, then weights in shares, one a process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from maya_train.strategies import Capabilities, StrategyBundle

STAGES = (0, 1, 2, 3)
OURS = ("gradient_accumulation_steps", "gradient_clipping", "managed_gradient_accumulation", "bf16", "fp16")
"""Keys of DeepSpeed's config that keys of a run decide."""


@dataclass(kw_only=True)
class DeepSpeed:
    """DeepSpeed's ZeRO on CUDA devices; with one process in all, a plain run.

    Its stage 2 takes it for granted that gradients come in the same order in all processes: a model whose
    code takes other ways for other batches is for the other strategies.
    """

    name: str = "deepspeed"
    """The plugin's name."""
    stage: int = 2
    """What is spread: 1 the optimizer's state, 2 gradients too, 3 weights too; 0: nothing."""
    config: dict[str, Any] = field(default_factory=dict)
    """Further keys of DeepSpeed's own config, such as zero_optimization: {overlap_comm: true}."""
    timeout_minutes: float = 30.0
    """How long a process waits for the others before it fails."""

    def __post_init__(self) -> None:
        """Refuse stages that do not exist, and keys that would contradict the run's own."""
        if self.stage not in STAGES:
            raise ValueError(f"`stage` must be one of {', '.join(map(str, STAGES))}, got {self.stage}")
        if self.timeout_minutes <= 0:
            raise ValueError(f"`timeout_minutes` must be more than 0, got {self.timeout_minutes}")
        if odd := [key for key in OURS if key in self.config]:
            raise ValueError(
                f"`config` has {odd[0]}, which grad_accum, grad_clip and precision decide; leave it out"
            )
        if "stage" in self.config.get("zero_optimization", {}):
            raise ValueError("`config` has zero_optimization.stage; set `stage`")

    def build(self, num_devices: int, num_nodes: int, precision: str, grad_clip: float) -> StrategyBundle:
        """The strategy. The optimizer's own clipping and sums of micro-batches are used, never Fabric's.

        Raises:
            ValueError: the package is missing, or the number format is not offered.
        """
        if num_devices * num_nodes == 1:
            return StrategyBundle(strategy="auto")
        if find_spec("deepspeed") is None:
            raise ValueError(
                "strategy deepspeed needs the package deepspeed, not installed here;"
                ' install with: pip install "maya-train[deepspeed]"'
            )
        if precision == "64-true" or (self.stage == 0 and precision != "32-true"):
            raise ValueError(
                f"strategy deepspeed with stage {self.stage} does not offer precision {precision};"
                " choose strategy=ddp or strategy=fsdp"
            )
        capabilities = Capabilities(
            clips_itself=True, owns_accumulation=True, sharded=True, joint_setup=True, needs_cuda=True
        )
        # Its weights are bfloat16 with float32 originals either way; autocast would trip over the former.
        own = "bf16-true" if precision.startswith("bf16") else None
        return StrategyBundle(strategy=self._strategy(grad_clip), capabilities=capabilities, precision=own)

    def _strategy(self, grad_clip: float) -> Any:
        from maya_train.strategies.zero import ZeroStrategy

        return ZeroStrategy(config=self.settings(grad_clip), timeout_minutes=self.timeout_minutes)

    def settings(self, grad_clip: float) -> dict[str, Any]:
        """DeepSpeed's config."""
        more: Mapping[str, Any] = self.config
        zero = {"stage": self.stage, "overlap_comm": False, **more.get("zero_optimization", {})}
        return {
            "train_micro_batch_size_per_gpu": 1,  # bookkeeping only: batches differ in size
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 2**62,
            **more,
            "zero_optimization": zero,
            # Left out, it would be 1.0; at stage 0 its own code cannot take scalars.
            "gradient_clipping": grad_clip if self.stage else 0.0,
            "managed_gradient_accumulation": False,  # the loop knows which micro-batch is the last
        }
