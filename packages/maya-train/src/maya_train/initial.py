"""The stage that begins a chain: a checkpoint is opened, fitted to this run's model and grown."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from maya_encoder import checkpoint
from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.expand import expand_layers
from maya_encoder.partial import LoadReport, checkpoint_tensors, load_into
from maya_encoder.tokenizer import Tokenizer
from maya_train.errors import ConfigError
from maya_train.more_rows import Grown, copy_rows, grown_tensors, same_pieces
from maya_train.schema import InitConfig, RunConfig

UNHEARD = ("name", "num_layers", "dropout", "stochastic_depth", "activation_checkpointing", "conv_chunking")
"""Fields of an encoder that may differ without any change of what it hears."""
SHOWN = 3

Say = Callable[[str], None]
Build = Callable[[RunConfig], AcousticModel]


@dataclass(frozen=True)
class Source:
    """What a checkpoint says of itself."""

    encoder: dict[str, Any]
    """Fields of its encoder."""
    frontend: dict[str, Any]
    langs: Sequence[str]
    tokenizer: Tokenizer | None


def open_initial(cfg: RunConfig, build: Build, say: Say) -> AcousticModel:
    """The model that a chain begins with.

    Args:
        cfg: a stage of the task `init`.
        build: makes the model of a run with fresh weights.
        say: for whoever waits.

    Raises:
        ConfigError: the checkpoint is deeper than the encoder, or holds what the model has no place for.
    """
    settings = cfg.init or InitConfig()
    if settings.path is None:
        say(f"{cfg.stage}: init.path is null: the encoder begins with fresh weights")
        return build(cfg)
    path = Path(settings.path)
    source = read_source(path)
    depth, wanted = int(source.encoder.get("num_layers", 0)), int(cfg.encoder.num_layers)
    if not 0 < depth <= wanted:
        raise ConfigError(
            f"init.path: {path} has {depth} layers, more than encoder.num_layers={wanted};"
            f" set that to {depth}"
        )
    _tell_differences(cfg, source, say)
    model = build(replace(cfg, encoder=replace(cfg.encoder, num_layers=depth)))
    _take(model, cfg, settings, source, say)
    if depth == wanted:
        return model
    say(f"{cfg.stage}: {depth} layers grow to {wanted} ({settings.how}); its output stays what it was")
    return expand_layers(model, wanted, settings.how)


def read_source(path: Path) -> Source:
    """What the checkpoint at `path`, ours or another program's, says of itself."""
    if (path / checkpoint.CONFIG_FILE).is_file():
        config = checkpoint.read_config(path)
        tokenizer = Tokenizer.load(path / checkpoint.TOKENIZER_FOLDER)
        return Source(config["encoder"], config.get("frontend") or {}, config["langs"], tokenizer)
    from maya_encoder.interop import read_any  # loads the readers of foreign files

    found = read_any(path)
    return Source(asdict(found.config.encoder), found.config.frontend, found.config.langs, found.tokenizer)


def _take(model: AcousticModel, cfg: RunConfig, settings: InitConfig, source: Source, say: Say) -> None:
    """Copy what is asked for; what has more languages or pieces here gets the rows that there are."""
    path, pieces = Path(str(settings.path)), model.tokenizer.vocab_size
    is_same = source.tokenizer is not None and same_pieces(source.tokenizer, model.tokenizer)
    if not is_same and any(prefix.split(".")[0] == "heads" for prefix in settings.include):
        raise ConfigError(
            f"init.include: the heads of {path} write the pieces of another tokenizer; take the encoder alone"
        )
    old = source.tokenizer.vocab_size if is_same and source.tokenizer is not None else pieces
    found, _ = checkpoint_tensors(path)
    grown = grown_tensors(found, model.state_dict(), (source.langs, old), (model.langs, pieces))
    grown = {name: one for name, one in grown.items() if _chosen(name, settings)}
    report = load_into(model, path, settings.include, [*settings.exclude, *grown])
    _refuse_left_over(report, path, settings, grown)
    copy_rows(model, grown)
    say(f"{cfg.stage}: {path}: {_told(report, grown)}")


def _chosen(name: str, settings: InitConfig) -> bool:
    below = [any(_below(name, each) for each in group) for group in (settings.include, settings.exclude)]
    return below[0] and not below[1]


def _below(name: str, prefix: str) -> bool:
    return f"{name}.".startswith(f"{prefix.rstrip('.')}.")


def _refuse_left_over(report: LoadReport, path: Path, settings: InitConfig, grown: dict[str, Grown]) -> None:
    """Half of a layer is worse than none: what was asked for must have a place."""
    odd = [name for name in report.skipped if _chosen(name, settings) and name not in grown]
    if odd:
        more = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
        raise ConfigError(
            f"init.path: {path} has tensors for which this run's model has no place: "
            f"{', '.join(odd[:SHOWN])}{more}; fit the keys of `encoder` to it, or name them in init.exclude"
        )


def _told(report: LoadReport, grown: dict[str, Grown]) -> str:
    text = f"{len(report.loaded)} tensors taken"
    if grown:
        text += f", {len(grown)} of them with more rows here"
    if fresh := [name for name in report.missing if name not in grown]:
        text += f"; fresh, for it has none: {', '.join(fresh[:SHOWN])}"
        text += f" and {len(fresh) - SHOWN} more" if len(fresh) > SHOWN else ""
    return text


def _tell_differences(cfg: RunConfig, source: Source, say: Say) -> None:
    """Name what the checkpoint was trained with and this run's model is not."""
    own = {field.name: getattr(cfg.encoder, field.name) for field in fields(cfg.encoder)}
    pairs = [("encoder", own, source.encoder), ("frontend", asdict(cfg.frontend), source.frontend)]
    for section, here, there in pairs:
        for key, value in there.items():
            if key in here and key not in UNHEARD and _plain(here[key]) != _plain(value) and key != "dither":
                say(
                    f"{cfg.stage}: {section}.{key} is {here[key]} here, and was {value} in {cfg.init.path}"  # type: ignore[union-attr]
                )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
