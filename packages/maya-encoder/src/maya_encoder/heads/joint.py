"""The joint network of a transducer."""

from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

if TYPE_CHECKING:
    from maya_encoder.heads.rnnt import RNNTConfig

ACTIVATION_LAYERS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Joint(nn.Module):
    """Two projections and an output layer, or one for each language; names as in NeMo's RNNTJoint.

    Args:
        in_dim: width of the encoder output.
        config: the head's.
        outputs: rows of the output layer, or of that of each language.
    """

    def __init__(self, in_dim: int, config: "RNNTConfig", outputs: int | dict[str, int]) -> None:
        super().__init__()
        self.enc = nn.Linear(in_dim, config.joint_size)
        self.pred = nn.Linear(config.prediction_size, config.joint_size)
        output: nn.Module
        if isinstance(outputs, int):
            output = nn.Linear(config.joint_size, outputs)
        else:
            layers = {lang: nn.Linear(config.joint_size, rows) for lang, rows in outputs.items()}
            output = nn.ModuleDict(layers)
        activation = ACTIVATION_LAYERS[config.activation]()
        self.joint_net = nn.Sequential(activation, nn.Dropout(config.dropout), output)

    def output(self, lang_id: int | None = None) -> nn.Linear:
        """The last layer; where there is one for each language, that of the language with this place."""
        layer = self.joint_net[2]
        if not isinstance(layer, nn.ModuleDict):
            return cast(nn.Linear, layer)
        if lang_id is None:
            raise ValueError(
                f"this joint network needs a language: it has an output layer for each of {list(layer)}"
            )
        return cast(nn.Linear, list(layer.values())[lang_id])

    def forward(self, encoder_part: Tensor, label_part: Tensor, lang_id: int | None = None) -> Tensor:
        """Logits (..., V + durations) of the sum of two projected parts (..., J)."""
        hidden = self.joint_net[1](self.joint_net[0](encoder_part + label_part))
        logits: Tensor = self.output(lang_id)(hidden)
        return logits


class LanguageJoint:
    """A joint network with the output layer of one language."""

    def __init__(self, joint: Joint, lang_id: int) -> None:
        self.enc, self.pred = joint.enc, joint.pred
        self._joint, self._lang_id = joint, lang_id

    def __call__(self, encoder_part: Tensor, label_part: Tensor) -> Tensor:
        """Logits (..., own ids + blank + durations) of two projected parts (..., J)."""
        logits: Tensor = self._joint(encoder_part, label_part, self._lang_id)
        return logits
