import pytest
import torch

from maya_encoder.heads.prediction import LSTMPrediction
from maya_encoder.heads.rnnt import RNNTConfig

LANG_VOCAB = {"hi": [0, 1, 2], "bn": [5, 3, 4]}


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


@pytest.fixture
def lang_head():
    torch.manual_seed(0)
    config = RNNTConfig(prediction_size=8, joint_size=12, max_symbols=2, lang_outputs=True)
    return config.build(in_dim=6, vocab_size=7, lang_vocab=LANG_VOCAB).eval()


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
    longer = torch.tensor([[0, 2, 2, -100, 99]])
    torch.testing.assert_close(head.loss(padded, lens[0], longer, lens[1]), alone)


def test_every_parameter_learns(head):
    loss = head.loss(
        torch.randn(2, 6, 6), torch.tensor([6, 4]), torch.randint(6, (2, 3)), torch.tensor([3, 2])
    )
    loss.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_loss_is_that_of_the_joint_networks_own_logits(head):
    """One frame and one token leave one alignment."""
    encoder_out, token = torch.randn(1, 1, 6), torch.tensor([[4]])
    states = head.prediction(token)
    logits = head.joint(head.joint.enc(encoder_out).unsqueeze(2), head.joint.pred(states).unsqueeze(1))
    label, blank = logits.log_softmax(-1)[0, 0]
    loss = head.loss(encoder_out, torch.tensor([1]), token, torch.tensor([1]))
    torch.testing.assert_close(loss[0], -label[4] - blank[-1])


def test_reductions(head):
    batch = (
        torch.randn(2, 6, 6),
        torch.tensor([6, 4]),
        torch.tensor([[1, 2, 3], [1, 0, 0]]),
        torch.tensor([3, 1]),
    )
    each = head.loss(*batch)
    assert each.shape == (2,)
    torch.testing.assert_close(head.loss(*batch, reduction="sum"), each.sum())
    torch.testing.assert_close(head.loss(*batch, reduction="mean_batch"), each.mean())
    torch.testing.assert_close(head.loss(*batch, reduction="mean_volume"), each.sum() / 4)


def test_loss_is_single_precision_under_autocast(head):
    with torch.autocast("cpu", torch.bfloat16):
        loss = head.loss(torch.randn(1, 6, 6), torch.tensor([6]), torch.tensor([[1, 2]]), torch.tensor([2]))
        loss.sum().backward()
    assert loss.dtype == torch.float32
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_dropout_is_for_training_only():
    head = RNNTConfig(prediction_size=8, joint_size=8, dropout=0.5).build(in_dim=6, vocab_size=7)
    batch = torch.randn(1, 6, 6), torch.tensor([6]), torch.tensor([[1, 2]]), torch.tensor([2])
    assert head.loss(*batch) != head.loss(*batch)
    head.eval()
    assert head.loss(*batch) == head.loss(*batch)


def test_fastemit_is_for_training_only():
    torch.manual_seed(0)
    head = RNNTConfig(prediction_size=8, joint_size=8, fastemit_lambda=0.5).build(in_dim=6, vocab_size=7)
    batch = torch.randn(1, 6, 6), torch.tensor([6]), torch.tensor([[1, 2]]), torch.tensor([2])
    bias = head.joint.joint_net[2].bias
    found = [torch.autograd.grad(head.train(mode).loss(*batch).sum(), bias)[0] for mode in (True, False)]
    assert head.train().loss(*batch) == head.eval().loss(*batch)
    assert found[0][1] < found[1][1]


def test_language_mask_holds_in_loss_and_decoding():
    torch.manual_seed(0)
    config = RNNTConfig(prediction="stateless", prediction_size=8, joint_size=8, max_symbols=2)
    head = config.build(in_dim=6, vocab_size=7, lang_vocab=LANG_VOCAB)
    encoder_out, lens, ids = torch.randn(2, 9, 6) * 5, torch.tensor([9, 9]), torch.tensor([0, 1])
    hindi, bengali = head.decode(encoder_out, lens, ids)
    assert set(hindi) <= {0, 1, 2}
    assert set(bengali) <= {3, 4, 5}
    batch = encoder_out, lens, torch.tensor([[3], [3]]), torch.tensor([1, 1])
    loss = head.loss(*batch, ids)
    assert loss[0] > 5000 > loss[1]
    assert head.loss(*batch).max() < 5000


def one_language(lang_head, lang, ids):
    """A head of its own with the rows of one language."""
    config = RNNTConfig(prediction_size=8, joint_size=12, max_symbols=2)
    own = config.build(in_dim=6, vocab_size=len(ids) + 1).eval()
    state = {
        name.replace(f"joint_net.2.{lang}.", "joint_net.2."): tensor
        for name, tensor in lang_head.state_dict().items()
        if "joint_net.2." not in name or f".{lang}." in name
    }
    embed = state["prediction.embed.weight"][: len(ids) + 1].clone()
    embed[-1] = 0
    own.load_state_dict({**state, "prediction.embed.weight": embed})
    return own


@torch.no_grad()
def test_output_layer_a_language_is_a_head_a_language(lang_head):
    encoder_out, lens = torch.randn(3, 9, 6) * 3, torch.tensor([9, 6, 7])
    tokens, token_lens = torch.tensor([[3, 5, 4], [2, 0, -1], [5, 5, 7]]), torch.tensor([3, 2, 2])
    lang_ids = torch.tensor([1, 0, 1])
    loss = lang_head.loss(encoder_out, lens, tokens, token_lens, lang_ids)
    texts = lang_head.decode(encoder_out, lens, lang_ids)
    for row, lang in enumerate(["bn", "hi", "bn"]):
        ids, one = LANG_VOCAB[lang], slice(row, row + 1)
        own = one_language(lang_head, lang, ids)
        local = torch.tensor([[ids.index(i) for i in tokens[row, : token_lens[row]].tolist()]])
        wanted = own.loss(encoder_out[one], lens[one], local, token_lens[one])
        torch.testing.assert_close(loss[one], wanted)
        assert texts[row] == [ids[i] for i in own.decode(encoder_out[one], lens[one])[0]]


def test_output_layer_a_language_learns_from_its_own_utterances(lang_head):
    batch = torch.randn(2, 6, 6), torch.tensor([6, 4]), torch.tensor([[0, 2], [1, 1]]), torch.tensor([2, 1])
    lang_head.loss(*batch, torch.tensor([0, 0]), "sum").backward()
    grads = {name: p.grad for name, p in lang_head.named_parameters()}
    assert grads["joint.joint_net.2.hi.weight"].abs().sum() > 0
    assert grads["joint.joint_net.2.bn.weight"].abs().sum() == 0


def test_output_layer_a_language_needs_languages(lang_head):
    batch = torch.randn(1, 6, 6), torch.tensor([6]), torch.tensor([[5]]), torch.tensor([1])
    with pytest.raises(ValueError, match=r"`lang_ids` must be given: .* one of \['hi', 'bn'\]"):
        lang_head.loss(*batch)
    with pytest.raises(ValueError, match="`tokens` of 'hi' must be among its own 3 ids, got 5"):
        lang_head.loss(*batch, torch.tensor([0]))
    with pytest.raises(ValueError, match="`lang_outputs` needs `lang_vocab`"):
        RNNTConfig(lang_outputs=True).build(in_dim=6, vocab_size=7)
    part = torch.zeros(12)
    with pytest.raises(ValueError, match="needs a language"):
        lang_head.joint(part, part)


def test_token_that_is_no_label_is_named(head):
    with pytest.raises(ValueError, match="`tokens` must be ids from 0 to 5, below the blank, got 6"):
        head.loss(torch.randn(1, 6, 6), torch.tensor([6]), torch.tensor([[6]]), torch.tensor([1]))


def test_parameter_names_are_nemos(lang_head):
    head = RNNTConfig(prediction_size=8, joint_size=12).build(in_dim=6, vocab_size=7)
    shapes = {name: list(tensor.shape) for name, tensor in head.state_dict().items()}
    lstm = "prediction.dec_rnn.lstm."
    inner = {
        "prediction.embed.weight": [7, 8],
        f"{lstm}weight_ih_l0": [32, 8],
        f"{lstm}weight_hh_l0": [32, 8],
        f"{lstm}bias_ih_l0": [32],
        f"{lstm}bias_hh_l0": [32],
        "joint.enc.weight": [12, 6],
        "joint.enc.bias": [12],
        "joint.pred.weight": [12, 8],
        "joint.pred.bias": [12],
    }
    assert shapes == {**inner, "joint.joint_net.2.weight": [7, 12], "joint.joint_net.2.bias": [7]}
    outputs = {f"joint.joint_net.2.{lang}.weight": [4, 12] for lang in LANG_VOCAB}
    outputs |= {f"joint.joint_net.2.{lang}.bias": [4] for lang in LANG_VOCAB}
    found = {name: list(tensor.shape) for name, tensor in lang_head.state_dict().items()}
    assert found == {**inner, **outputs}


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("joint_size", 0, "1 or more"),
        ("dropout", 1.0, "less than 1"),
        ("prediction", "gru", "lstm or stateless"),
        ("activation", "gelu", "relu, tanh or sigmoid"),
        ("fastemit_lambda", -0.1, "0 or more, got -0.1"),
    ],
)
def test_bad_settings_are_named(key, value, wanted):
    with pytest.raises(ValueError, match=f"`{key}` must be .*{wanted}"):
        RNNTConfig(**{key: value})


@pytest.mark.parametrize("num_layers", [1, 3])
def test_a_step_of_the_prediction_network_is_the_lstms_own(num_layers):
    torch.manual_seed(0)
    network = LSTMPrediction(vocab_size=9, hidden_size=32, num_layers=num_layers)
    labels = torch.randint(8, (5, 20))
    output, state = network.start(5)
    found = [output]
    for label in labels.T:
        output, state = network.step(label, state)
        found.append(output)
    torch.testing.assert_close(torch.stack(found, dim=1), network(labels), atol=1e-6, rtol=0)
    wanted = network.dec_rnn["lstm"](network.embed(torch.nn.functional.pad(labels, (1, 0), value=8)))[1]
    torch.testing.assert_close(state.permute(1, 2, 0, 3), torch.stack(wanted), atol=1e-6, rtol=0)
