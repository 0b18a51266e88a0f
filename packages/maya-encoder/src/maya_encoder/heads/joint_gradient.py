"""The gradient of the joint network, summed over chunks of cells."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maya_encoder.heads.joint_cells import Cells, Hidden, Joint, product


class JointGradient:
    """Gradients of both parts and of the output layer, in the dtype of the joint's sums.

    Args:
        joint: the network.
        parts_wanted: whether the two parts learn.
        output_wanted: whether the output layer learns.
    """

    def __init__(self, joint: Joint, parts_wanted: bool, output_wanted: bool) -> None:
        self.joint = joint
        new = joint.table.new_zeros
        self.table = new(joint.table.shape) if parts_wanted else None
        self.output = [(new(w.shape), new(len(w))) for w in joint.output.weights] if output_wanted else None

    def add(self, cells: Cells, hidden: Hidden, grad_logits: Sequence[Tensor]) -> None:
        """Add n cells.

        Args:
            cells: the cells.
            hidden: their hidden layer.
            grad_logits: gradients by the label logits (n, V) and, for TDT, the duration logits (n, N).
        """
        if self.output is not None:
            for (weight, bias), grad in zip(self.output, grad_logits, strict=True):
                _add_product(weight, grad.T, hidden.dropped)
                bias.add_(grad.sum(0, dtype=bias.dtype))
        if self.table is not None:
            weights = self.joint.output.weights
            products = [product(grad, weight) for grad, weight in zip(grad_logits, weights, strict=True)]
            self._add_parts(self.table, cells, hidden, sum(products[1:], products[0]))

    def _add_parts(self, table: Tensor, cells: Cells, hidden: Hidden, grad: Tensor) -> None:
        if hidden.scale is not None:
            grad.mul_(hidden.scale)
        grad = self.joint.activation.backward_(grad, hidden.active)  # (n, J)
        table.index_add_(0, cells.frame, grad)
        table.index_add_(0, cells.position + self.joint.num_frames, grad)

    def of_parts(self, encoder_part: Tensor, label_part: Tensor) -> list[Tensor | None]:
        """Gradients of the two parts, in their shapes and dtypes."""
        if self.table is None:
            return [None, None]
        halves = (self.table[: self.joint.num_frames], self.table[self.joint.num_frames :])
        parts = (encoder_part, label_part)
        return [half.view_as(part).to(part.dtype) for half, part in zip(halves, parts, strict=True)]

    def of_output(self, weight: Tensor, bias: Tensor) -> list[Tensor | None]:
        """Gradients of the last layer's weight and bias, in their shapes and dtypes."""
        if self.output is None:
            return [None, None]
        num_labels = self.joint.output.blank_id + 1
        found = []
        for like, (labels, *durations) in zip((weight, bias), zip(*self.output, strict=True), strict=True):
            whole = torch.cat([labels[:num_labels], *durations]) if durations else labels[:num_labels]
            found.append(whole.to(like.dtype))
        return found


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(product(left, right))
