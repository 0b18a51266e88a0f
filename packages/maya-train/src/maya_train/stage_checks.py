"""Keys of a run that only go together with others; the message names them and what would be right."""

from typing import TYPE_CHECKING

from maya_train.limits import at_least

if TYPE_CHECKING:
    from maya_train.schema import RunConfig

CTC = "ctc"
"""The head whose posteriors are scores and lessons."""


def check_stage(cfg: "RunConfig") -> None:
    """Refuse what this kind of stage would not read, or could not do.

    Raises:
        ValueError: one sentence on the first of it.
    """
    at_least("ctc_weight", cfg.ctc_weight, 0)
    if cfg.task == "init":
        _check_init(cfg)
    elif cfg.init is not None:
        raise ValueError(f"`init` is read by the task init alone, this stage has the task {cfg.task}")
    _check_encoder_part(cfg)
    _check_ctc_weight(cfg)
    if cfg.select is not None:
        _check_select(cfg)
    if cfg.distill is not None:
        _check_distill(cfg)


def _check_init(cfg: "RunConfig") -> None:
    if cfg.train:
        raise ValueError(f"the task init trains nothing: set `train` to [], got {', '.join(cfg.train)}")
    if cfg.init_from is not None:
        raise ValueError("the task init opens `init.path`; leave `init_from` out")


def _check_encoder_part(cfg: "RunConfig") -> None:
    for key in ("encoder_top_layers", "encoder_lora"):
        if getattr(cfg, key) is not None and "encoder" not in cfg.train:
            raise ValueError(f"`{key}` says how the encoder trains, but `train` does not name it")
    if cfg.encoder_top_layers is None:
        return
    if cfg.encoder_lora is not None:
        raise ValueError("one way to train a part of the encoder: unset encoder_top_layers or encoder_lora")
    at_least("encoder_top_layers", cfg.encoder_top_layers, 1)
    have = getattr(cfg.encoder, "num_layers", cfg.encoder_top_layers)
    if cfg.encoder_top_layers > have:
        raise ValueError(
            f"`encoder_top_layers` must be at most the encoder's {have}, got {cfg.encoder_top_layers}"
        )


def _check_ctc_weight(cfg: "RunConfig") -> None:
    if cfg.task != "speech_llm":
        if cfg.ctc_weight:
            raise ValueError(f"`ctc_weight` is for the task speech_llm, for {cfg.task} it is loss.ctc")
        return
    if cfg.ctc_weight and CTC not in cfg.heads:
        raise ValueError(f"`ctc_weight` needs a head named ctc, but `heads` has {', '.join(cfg.heads)}")
    if cfg.ctc_weight and not {"encoder", CTC} & set(cfg.train):
        raise ValueError("`ctc_weight` changes nothing: `train` names neither encoder nor ctc")
    if CTC in cfg.train and not cfg.ctc_weight:
        raise ValueError("`train` names ctc, which learns by `ctc_weight` alone; give it a weight")


def _check_select(cfg: "RunConfig") -> None:
    assert cfg.select is not None
    if cfg.select.model is None and cfg.init_from is None:
        raise ValueError("`select` needs a model that scores: give select.model or init_from")
    if cfg.data.keep is not None:
        raise ValueError("`select` makes the list that `data.keep` names; unset one of them")
    if cfg.task in ("init", "text_copy"):
        raise ValueError(f"`select` scores audio, of which the task {cfg.task} has none")


def _check_distill(cfg: "RunConfig") -> None:
    assert cfg.distill is not None
    if cfg.task != "acoustic":
        raise ValueError(f"`distill` is for the task acoustic, this stage has the task {cfg.task}")
    if CTC not in cfg.heads:
        raise ValueError(f"`distill` needs a head named ctc, but `heads` has {', '.join(cfg.heads)}")
    if not {"encoder", "language_prompt", CTC} & set(cfg.train):
        raise ValueError("`distill` changes nothing: `train` names neither encoder nor ctc")
    if cfg.cache_encoder:
        raise ValueError("`distill` hears the audio itself; unset cache_encoder")
