import pytest
import torch
from torch.nn import functional as F
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from maya_bridge import fused_loss
from maya_bridge.fused_loss import choose, loss_at
from maya_bridge.llm import LLMConfig, load_llm
from maya_bridge.prompt import IGNORED, PromptBatch
from maya_bridge.target_loss import target_loss

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
GEMMA = {**SIZES, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}
FAMILIES = {
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**GEMMA)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**GEMMA, final_logit_softcapping=0.2)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2)),
    "cohere": lambda: CohereForCausalLM(CohereConfig(**SIZES, pad_token_id=0)),
    "granite": lambda: GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=7.0)),
}
MANY = 10**6
ODD = {"cohere", "granite"}
"""Families that do more to their logits than cap them."""


def make(family):
    torch.manual_seed(0)
    llm = FAMILIES[family]().eval()
    embedding = llm.get_input_embeddings()
    with torch.no_grad():  # far from uniform, so that a missing cap or scale shows
        embedding.weight.mul_(10)
    return llm


def batch_of(llm, seed=1):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 50, (3, 9), generator=generator)
    lens = torch.tensor([9, 6, 4])
    mask = torch.arange(9)[None] < lens[:, None]
    labels = ids.masked_fill(~mask, IGNORED)
    labels[:, :3] = IGNORED
    embeds = llm.get_input_embeddings()(ids).detach().requires_grad_(True)
    return PromptBatch(embeds, mask.long(), (mask.cumsum(1) - 1).clamp(min=0), labels)


def by_all_logits(llm, batch):
    logits = llm(
        inputs_embeds=batch.inputs_embeds,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
    ).logits
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        batch.labels[:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )


def with_gradients(llm, loss, batch):
    llm.zero_grad()
    batch.inputs_embeds.grad = None
    loss.backward()
    grads = {name: p.grad.clone() for name, p in llm.named_parameters() if p.grad is not None}
    return loss.detach(), batch.inputs_embeds.grad.clone(), grads


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("impl", ["auto", "torch", "chunked"])
def test_loss_and_gradients_are_those_of_all_logits(family, impl, monkeypatch):
    if impl == "chunked" and family in ODD:
        pytest.skip("refused, see below")
    monkeypatch.setitem(fused_loss.CHUNK_NUMBERS, "cpu", 200)  # four positions at a time
    llm = make(family)
    batch = batch_of(llm)

    loss, to_input, to_weights = with_gradients(llm, target_loss(llm, batch, impl), batch)
    wanted = with_gradients(llm, by_all_logits(llm, batch), batch)

    torch.testing.assert_close(loss, wanted[0])
    torch.testing.assert_close(to_input, wanted[1], rtol=1e-4, atol=1e-5)
    assert to_weights.keys() == wanted[2].keys()
    for name, grad in to_weights.items():
        torch.testing.assert_close(grad, wanted[2][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", sorted(ODD))
def test_heads_that_do_more_are_left_to_the_llm_itself(family):
    llm = make(family)

    assert choose(llm, "auto", torch.device("cuda"), MANY) == "torch"
    with pytest.raises(ValueError, match=r"`loss_impl` must be torch for \w+, which has `logit.*got chunked"):
        choose(llm, "chunked", torch.device("cpu"), MANY)


def test_unknown_and_missing_implementations_are_named(monkeypatch):
    llm = make("gemma3")
    with pytest.raises(ValueError, match="must be one of auto, torch, chunked, liger, got fast"):
        choose(llm, "fast", torch.device("cpu"), MANY)
    monkeypatch.setattr(fused_loss, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs liger_kernel, .*'maya-bridge\[liger\]'"):
        choose(llm, "liger", torch.device("cuda"), MANY)
    assert choose(llm, "auto", torch.device("cuda"), MANY) == "chunked"


def test_liger_is_taken_on_cuda_where_it_is_installed_and_fits(monkeypatch):
    monkeypatch.setattr(fused_loss, "find_spec", lambda name: object())
    llm, _ = load_llm(LLMConfig(source="tiny", hidden_size=16, num_heads=2), "ab ")

    assert choose(llm, "auto", torch.device("cuda"), MANY) == "liger"
    assert choose(llm, "auto", torch.device("cuda"), 100) == "torch"  # few logits are not worth it
    assert choose(llm, "auto", torch.device("cpu"), MANY) == "chunked"
    assert choose(llm, "auto", torch.device("cpu"), 100) == "torch"
    fused_loss_rows = load_llm(
        LLMConfig(source="tiny", hidden_size=16, num_heads=2, special_rows=True), "ab "
    )[0]
    assert choose(fused_loss_rows, "auto", torch.device("cuda"), MANY) == "chunked"
    with pytest.raises(ValueError, match="must be torch or chunked while special rows train, got liger"):
        choose(fused_loss_rows, "liger", torch.device("cuda"), MANY)


def test_the_config_chooses(monkeypatch):
    llm, _ = load_llm(LLMConfig(source="tiny", hidden_size=16, num_heads=2, loss_impl="chunked"), "ab ")
    seen = []
    monkeypatch.setattr(fused_loss, "_chunked", lambda *args: seen.append("chunked") or torch.zeros(()))

    target_loss(llm, batch_of_tiny(llm))

    assert seen == ["chunked"]


def batch_of_tiny(llm):
    ids = torch.tensor([[2, 3, 4, 5]])
    labels = torch.tensor([[IGNORED, IGNORED, 4, 5]])
    return PromptBatch(llm.get_input_embeddings()(ids), torch.ones_like(ids), torch.arange(4)[None], labels)


def test_chunks_without_gradients_give_the_same_sum(monkeypatch):
    monkeypatch.setitem(fused_loss.CHUNK_NUMBERS, "cpu", 200)
    llm = make("gemma3")
    batch = batch_of(llm)

    with torch.no_grad():
        torch.testing.assert_close(target_loss(llm, batch, "chunked"), target_loss(llm, batch, "torch"))


def test_chunks_over_a_large_vocabulary_are_as_exact_as_torch():
    torch.manual_seed(0)
    config = Gemma3TextConfig(**{**GEMMA, "vocab_size": 100_000})
    llm = Gemma3ForCausalLM(config).requires_grad_(False)
    hidden, labels = 30 * torch.randn(8, 16), torch.randint(0, 100_000, (8,))

    def errors(loss_of):
        leaf = hidden.clone().requires_grad_(True)
        loss = loss_of(leaf)
        return abs(float(loss.detach()) - float(exact[0])), (
            torch.autograd.grad(loss, leaf)[0] - exact[1]
        ).norm()

    double = hidden.double().requires_grad_(True)
    true = F.cross_entropy(double @ llm.lm_head.weight.double().T, labels, reduction="sum")
    exact = true.detach(), torch.autograd.grad(true, double)[0]
    plain = errors(lambda leaf: F.cross_entropy(llm.lm_head(leaf), labels, reduction="sum"))
    ours = errors(lambda leaf: fused_loss._chunked(llm, leaf, labels))

    assert ours[0] <= max(plain[0], 1e-4)
    assert ours[1] <= max(plain[1], 1e-6 * exact[1].norm())


def test_chunks_scale_with_what_the_loss_is_multiplied_by(monkeypatch):
    monkeypatch.setitem(fused_loss.CHUNK_NUMBERS, "cpu", 200)
    llm = make("gemma3").bfloat16()
    batch = batch_of(llm)

    loss, to_input, _ = with_gradients(llm, target_loss(llm, batch, "chunked"), batch)
    tenth = with_gradients(llm, target_loss(llm, batch, "chunked") * 0.125, batch)

    torch.testing.assert_close(tenth[0], loss * 0.125)
    torch.testing.assert_close(tenth[1], to_input * 0.125)


@pytest.mark.parametrize("impl", ["torch", "chunked"])
def test_special_rows_learn_by_every_implementation(impl):
    llm, _ = load_llm(LLMConfig(source="tiny", hidden_size=16, num_heads=2, special_rows=True), "ab ")
    llm.requires_grad_(False)
    llm.special_rows.requires_grad_(True)
    batch = batch_of_tiny(llm)

    wanted = torch.autograd.grad(by_all_logits(llm, batch), llm.special_rows.delta)[0]
    found = torch.autograd.grad(target_loss(llm, batch_of_tiny(llm), impl), llm.special_rows.delta)[0]

    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_only_the_wanted_positions_reach_the_output_layer():
    llm = make("gemma3")
    batch, sizes = batch_of(llm), []
    llm.lm_head.register_forward_hook(lambda module, args, out: sizes.append(tuple(out.shape)))

    target_loss(llm, batch)

    assert sizes == [(int((batch.labels != IGNORED).sum()), 50)]


@pytest.mark.parametrize("how", ["weights", "autocast"])
def test_half_precision_is_refused(how):
    llm = make("gemma3")
    batch = batch_of(llm)
    if how == "weights":
        batch = PromptBatch(
            batch.inputs_embeds.half(), batch.attention_mask, batch.position_ids, batch.labels
        )
    with (
        pytest.raises(ValueError, match=r"must run in float32 or bfloat16 .*, got float16"),
        torch.autocast("cpu", torch.float16, enabled=how == "autocast"),
    ):
        target_loss(llm, batch)


def test_nothing_stays_behind_after_an_error():
    llm = make("gemma3")
    batch = batch_of(llm)
    with pytest.raises(IndexError):
        loss_at(llm, {"inputs_embeds": batch.inputs_embeds}, torch.ones(2, 2).bool(), batch.labels)

    assert llm(inputs_embeds=batch.inputs_embeds).logits.shape == (3, 9, 50)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("family", ["gemma3", "gemma2"])
@pytest.mark.parametrize("frozen", [True, False])
def test_liger_is_exact(family, frozen):
    pytest.importorskip("liger_kernel")
    llm = make(family).cuda().requires_grad_(not frozen)
    small = batch_of(make(family))
    batch = PromptBatch(
        small.inputs_embeds.detach().cuda().requires_grad_(True),
        small.attention_mask.cuda(),
        small.position_ids.cuda(),
        small.labels.cuda(),
    )

    loss, to_input, to_weights = with_gradients(llm, target_loss(llm, batch, "liger"), batch)
    wanted = with_gradients(llm, target_loss(llm, batch, "torch"), batch)

    torch.testing.assert_close(loss, wanted[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(to_input, wanted[1], rtol=1e-3, atol=1e-4)
    for name, grad in to_weights.items():
        torch.testing.assert_close(grad, wanted[2][name], rtol=1e-3, atol=1e-4)
