"""The `encoder` section of a NeMo config as a `FastConformerConfig`."""

from typing import Any

from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop.nemo_section import Section

_FIXED: dict[str, tuple[tuple[Any, ...], Any]] = {
    "causal_downsampling": ((False,), False),
    "reduction": ((None,), None),
    "conv_context_style": (("regular",), "regular"),
    "att_chunk_context_size": ((None,), None),
    "global_tokens": ((0,), 0),
    "global_attn_separate": ((False,), False),
}
"""Keys that only one value can be built for, and what NeMo takes for an absent key."""
EVERYTHING = (-1, -1)


def encoder_config(section: Section, frontend: str) -> FastConformerConfig:
    """The encoder that a `ConformerEncoder` section describes.

    Args:
        section: the section; absent keys stand for NeMo's defaults, which are the classic Conformer's.
        frontend: `modern` or `legacy`; with the latter the subsampling does not clear padding.

    Raises:
        BadCheckpoint: it is another encoder, or a key has a value that cannot be built here.
    """
    target = str(section.get("_target_", section.get("cls", "ConformerEncoder"))).rpartition(".")[2]
    if target not in ("ConformerEncoder", "ConformerEncoderAdapter"):
        raise section.refusal("_target_", target, "a ConformerEncoder")
    for key, (known, default) in _FIXED.items():
        section.one_of(key, known, default)
    size = section.whole("d_model")
    if section.get("feat_out", -1) not in (-1, 0, size):
        raise section.refusal("feat_out", section.get("feat_out"), f"-1 or d_model={size}")
    try:
        return FastConformerConfig(
            num_layers=section.whole("n_layers"),
            hidden_size=size,
            num_heads=section.whole("n_heads", 4),
            ff_expansion=section.whole("ff_expansion_factor", 4),
            **_convolution(section),
            **_subsampling(section, size),
            masked_subsampling=frontend == "modern",
            use_bias=section.flag("use_bias", True),
            xscaling=section.flag("xscaling", True),
            dropout=section.number("dropout", 0.1),
            stochastic_depth=section.number("stochastic_depth_drop_prob", 0.0),
            **_attention(section),
        )
    except ValueError as error:
        if isinstance(error, BadCheckpoint):
            raise
        raise BadCheckpoint(f"{section.source}: the encoder cannot be built here: {error}") from None


def _attention(section: Section) -> dict[str, Any]:
    kind = section.one_of("self_attention_model", ("rel_pos", "rel_pos_local_attn"), "rel_pos")
    left, right = _context(section)
    if kind == "rel_pos_local_attn" and left != right:  # NeMo then adds position terms to the wrong frames
        raise section.refusal("att_context_size", [left, right], "two equal numbers for local attention")
    return {
        "attention": kind,
        "attention_context": (left, right),
        "context_style": section.one_of("att_context_style", ("regular", "chunked_limited"), "regular"),
        # NeMo never shares the biases of local attention.
        "untie_biases": section.flag("untie_biases", True) or kind == "rel_pos_local_attn",
    }


def _context(section: Section) -> tuple[int, int]:
    """Frames seen to the left and right, -1 for all; of several choices NeMo's default, the first."""
    given = section.get("att_context_size", list(EVERYTHING))
    chosen = given[0] if isinstance(given, list) and given and isinstance(given[0], list) else given
    if not (isinstance(chosen, list) and len(chosen) == 2 and all(type(part) is int for part in chosen)):
        raise section.refusal("att_context_size", given, "two whole numbers or a list of such pairs")
    return chosen[0], chosen[1]


def _convolution(section: Section) -> dict[str, Any]:
    kernel = section.whole("conv_kernel_size", 31)
    context, half = section.get("conv_context_size"), (kernel - 1) // 2
    if context not in (None, [half, half]):
        raise section.refusal("conv_context_size", context, f"null or [{half}, {half}]")
    norm = section.one_of("conv_norm_type", ("batch_norm", "layer_norm"), "batch_norm")
    return {"conv_kernel": kernel, "conv_norm": norm}


def _subsampling(section: Section, size: int) -> dict[str, Any]:
    channels = section.whole("subsampling_conv_channels", -1)
    return {
        "subsampling": section.one_of("subsampling", ("dw_striding", "striding"), "striding"),
        "subsampling_factor": section.whole("subsampling_factor", 4),
        "subsampling_channels": size if channels == -1 else channels,
    }
