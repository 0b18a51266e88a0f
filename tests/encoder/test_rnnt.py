import pytest
import torch

from maya_encoder.heads.rnnt import RNNTConfig


@pytest.fixture(params=["lstm", "stateless"])
def head(request):
    torch.manual_seed(0)
    config = RNNTConfig(
        prediction=request.param, prediction_size=8, joint_size=12, max_symbols=3, activation="tanh"
    )
    head = config.build(in_dim=6, vocab_size=7).eval()
    with torch.no_grad():
        head.joint.joint_net[2].weight.mul_(4)
        head.joint.joint_net[2].bias[-1] += 0.8
    return head


def frame_by_frame(head, encoder_out, num_frames):
    written = []
    states, history = head.prediction.start(1)
    for frame in head.joint.enc(encoder_out)[:num_frames]:
        for _ in range(head.config.max_symbols):
            label = int(head.joint(frame, head.joint.pred(states)[0]).argmax())
            if label == head.blank_id:
                break
            written.append(label)
            states, history = head.prediction.step(torch.tensor([label]), history)
    return written


@torch.no_grad()
def test_batched_decoding_equals_going_frame_by_frame(head):
    encoder_out = torch.randn(6, 25, 6) * 3
    lens = torch.tensor([25, 11, 1, 24, 0, 4])
    found = head.decode(encoder_out, lens)
    assert found == [frame_by_frame(head, x, n) for x, n in zip(encoder_out, lens.tolist(), strict=True)]
    assert len(found[0]) > 10
    assert found[4] == []


@torch.no_grad()
def test_prediction_by_steps_equals_prediction_at_once(head):
    tokens = torch.randint(6, (2, 5))
    wanted = head.prediction(tokens)
    states, history = head.prediction.start(2)
    found = [states]
    for labels in tokens.T:
        states, history = head.prediction.step(labels, history)
        found.append(states)
    torch.testing.assert_close(torch.stack(found, dim=1), wanted)


def test_padding_changes_no_loss(head):
    encoder_out, tokens = torch.randn(1, 6, 6), torch.tensor([[0, 2, 2]])
    lens = torch.tensor([6]), torch.tensor([3])
    alone = head.loss(encoder_out, lens[0], tokens, lens[1])
    padded = torch.cat([encoder_out, torch.full((1, 2, 6), 9.0)], dim=1)
    longer = torch.tensor([[0, 2, 2, 1, 5]])
    torch.testing.assert_close(head.loss(padded, lens[0], longer, lens[1]), alone)


def test_every_parameter_learns(head):
    loss = head.loss(
        torch.randn(2, 6, 6), torch.tensor([6, 4]), torch.randint(6, (2, 3)), torch.tensor([3, 2])
    )
    loss.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_loss_is_single_precision_under_autocast(head):
    with torch.autocast("cpu", torch.bfloat16):
        loss = head.loss(torch.randn(1, 6, 6), torch.tensor([6]), torch.tensor([[1, 2]]), torch.tensor([2]))
    assert loss.dtype == torch.float32


def test_dropout_is_for_training_only():
    head = RNNTConfig(prediction_size=8, joint_size=8, dropout=0.5).build(in_dim=6, vocab_size=7)
    batch = torch.randn(1, 6, 6), torch.tensor([6]), torch.tensor([[1, 2]]), torch.tensor([2])
    assert head.loss(*batch) != head.loss(*batch)
    head.eval()
    assert head.loss(*batch) == head.loss(*batch)


def test_language_mask_holds_in_loss_and_decoding():
    torch.manual_seed(0)
    config = RNNTConfig(prediction="stateless", prediction_size=8, joint_size=8, max_symbols=2)
    head = config.build(in_dim=6, vocab_size=7, lang_vocab={"hi": [0, 1, 2], "bn": [3, 4, 5]})
    encoder_out, lens, ids = torch.randn(2, 9, 6) * 5, torch.tensor([9, 9]), torch.tensor([0, 1])
    hindi, bengali = head.decode(encoder_out, lens, ids)
    assert set(hindi) <= {0, 1, 2}
    assert set(bengali) <= {3, 4, 5}
    loss = head.loss(encoder_out, lens, torch.tensor([[3], [3]]), torch.tensor([1, 1]), ids)
    assert loss[0] > 5000 > loss[1]


def test_parameter_names_are_nemos():
    head = RNNTConfig(prediction_size=8, joint_size=12).build(in_dim=6, vocab_size=7)
    shapes = {name: list(tensor.shape) for name, tensor in head.state_dict().items()}
    lstm = "prediction.dec_rnn.lstm."
    assert shapes == {
        "prediction.embed.weight": [7, 8],
        f"{lstm}weight_ih_l0": [32, 8],
        f"{lstm}weight_hh_l0": [32, 8],
        f"{lstm}bias_ih_l0": [32],
        f"{lstm}bias_hh_l0": [32],
        "joint.enc.weight": [12, 6],
        "joint.enc.bias": [12],
        "joint.pred.weight": [12, 8],
        "joint.pred.bias": [12],
        "joint.joint_net.2.weight": [7, 12],
        "joint.joint_net.2.bias": [7],
    }


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("joint_size", 0, "1 or more"),
        ("dropout", 1.0, "less than 1"),
        ("prediction", "gru", "lstm or stateless"),
    ],
)
def test_bad_settings_are_named(key, value, wanted):
    with pytest.raises(ValueError, match=f"`{key}` must be .*{wanted}"):
        RNNTConfig(**{key: value})
