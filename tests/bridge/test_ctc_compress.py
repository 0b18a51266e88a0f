import pytest
import torch

from maya_bridge.projectors.ctc_compress import CTCCompress, average_runs, label_runs


def posteriors(*rows):
    return torch.tensor(rows).log()


def test_blank_frames_are_dropped_and_runs_of_one_label_joined():
    a, b, blank = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]
    log_probs = posteriors([a, a, b, blank, b, blank, blank, a])

    run, kept, run_lens = label_runs(log_probs, torch.tensor([8]), 0.5)

    assert kept[0].tolist() == [True, True, True, False, True, False, False, True]
    assert run[0][kept[0]].tolist() == [0, 0, 1, 2, 3]
    assert run_lens.tolist() == [4]


def test_an_utterance_of_blanks_keeps_its_least_blank_frame():
    log_probs = posteriors([[0.05, 0.05, 0.9], [0.2, 0.2, 0.6], [0.4, 0.5, 0.1]])

    _, kept, run_lens = label_runs(log_probs, torch.tensor([2]), 0.5)

    assert kept[0].tolist() == [False, True, False]
    assert run_lens.tolist() == [1]


def test_frames_of_a_run_are_averaged():
    frames = torch.tensor([[[1.0], [3.0], [7.0], [float("nan")]]])
    run, kept = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[True, True, True, False]])

    assert average_runs(frames, run, kept, 3)[0, :, 0].tolist() == [2.0, 7.0, 0.0]


def test_certain_posterior_adds_the_embedding_of_its_piece():
    projector = CTCCompress().build(in_dim=4, out_dim=6, embed_rms=0.2, vocab_size=3)
    pieces = torch.randn(2, 6)
    projector.adopt_pieces(pieces)
    log_probs = torch.tensor([[[0.0, -90.0, -90.0], [-90.0, -90.0, 0.0], [-90.0, 0.0, -90.0]]])
    frames = torch.randn(1, 3, 4)

    out = projector(frames, torch.tensor([3]), ctc_log_probs=log_probs)

    torch.testing.assert_close(out.speech_embeds[0] - projector.mlp(frames[0, [0, 2]]), pieces)


def test_missing_ctc_is_an_error():
    with pytest.raises(ValueError, match="needs an acoustic model with a CTC head"):
        CTCCompress().build(in_dim=4, out_dim=6, embed_rms=0.2)
    projector = CTCCompress().build(in_dim=4, out_dim=6, embed_rms=0.2, vocab_size=3)
    with pytest.raises(ValueError, match="`ctc_log_probs` must be given"):
        projector(torch.zeros(1, 2, 4), torch.tensor([2]))
