import torch

from maya_bridge.corruption import Corruption
from maya_bridge.target_loss import make_targets


def test_loss_equals_a_hand_written_shift_loop(make_model, spell, sentences):
    model = make_model()
    speech, langs = spell(sentences), ["hi"] * len(sentences)

    parts = model.loss(speech, sentences, langs)

    embed, tokenizer = model.llm.get_input_embeddings(), model.llm_tokenizer
    projected, total, count = model.project(speech), 0.0, 0
    for row, text in enumerate(sentences):
        head = embed(torch.tensor([tokenizer.bos_id, tokenizer.special_id("<|audio|>")]))
        tail_ids = [
            tokenizer.special_id("<|/audio|>"),
            tokenizer.special_id("<|transcribe|>"),
            tokenizer.lang_id("hi"),
        ]
        size = int(projected.speech_embeds_lens[row])
        text_ids = [*tokenizer.encode(text, "hi"), tokenizer.eos_id]
        inputs = torch.cat(
            [head, projected.speech_embeds[row, :size], embed(torch.tensor(tail_ids + text_ids))]
        )
        positions = torch.tensor([[0, 0, *range(size), 0, 0, 0, *range(1, len(text_ids) + 1)]])
        mask = torch.ones_like(positions)
        logits = model.llm(inputs_embeds=inputs[None], attention_mask=mask, position_ids=positions).logits[0]
        for k, target in enumerate(text_ids):
            total -= float(logits[size + 4 + k].log_softmax(-1)[target].detach())
            count += 1
    assert parts.num_tokens == count
    torch.testing.assert_close(parts.loss_sum.detach(), torch.tensor(total), rtol=1e-4, atol=1e-3)


def test_corruption_spoils_what_is_fed_and_never_the_labels(make_model, sentences):
    tokenizer = make_model().llm_tokenizer
    clean = make_targets(tokenizer, sentences, ["hi"] * 4)
    spoilt = make_targets(tokenizer, sentences, ["hi"] * 4, Corruption(token_swap=0.5))

    assert clean.input_ids is clean.labels
    assert torch.equal(spoilt.labels, clean.labels)
    assert not torch.equal(spoilt.input_ids, clean.labels)
