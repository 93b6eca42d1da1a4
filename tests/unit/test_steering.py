from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ard.clamps import check_change
from ard.hooks import read, replace
from ard.models.audio_lm import AudioLM
from ard.models.inputs import Inputs
from ard.sae import SAEConfig, SAEError, TopKSAE
from ard.steering import (
    Clamp,
    DiffOfMeans,
    PolyClamp,
    Steering,
    SteeringError,
    SteeringReport,
    apply_clamp,
    difference_of_means,
    dose_response,
    poly_clamp,
    steer,
    steer_generate,
    steering,
)
from tests.fixtures.models import hooks_left, tiny_lm, tone

LAYER, D = 1, 32
AUDIOS = [tone(1.5), tone(0.4, 900), tone(0.9, 200)]
PROMPTS = ["What sound is this?", "Is the speaker female or male?", "What?"]


@pytest.fixture(scope="module")
def lm() -> AudioLM:
    return tiny_lm()


@pytest.fixture(scope="module")
def inputs(lm: AudioLM) -> Inputs:
    return lm.prepare(AUDIOS, PROMPTS)


def mirror_sae(k: int = 2 * D, d_in: int = D, hookpoint: str = f"layers.{LAYER}") -> TopKSAE:
    """Latents (x₊, (−x)₊), decoder (I, −I): x̂ keeps the k entries of x largest in size; with k = 2·d_in x̂ = x."""
    sae = TopKSAE(SAEConfig(hookpoint=hookpoint, d_in=d_in, expansion=2, k=k, recipe="paper"))
    both = torch.cat([torch.eye(d_in), -torch.eye(d_in)])
    with torch.no_grad():
        sae.W_enc.copy_(both)
        sae.W_dec.copy_(both)
        sae.b_enc.zero_()
    return sae


def random_sae(k: int = 6) -> TopKSAE:
    return TopKSAE(SAEConfig(hookpoint=f"layers.{LAYER}", d_in=D, expansion=3, k=k, recipe="recommended", scale=0.5))


def residual(
    lm: AudioLM, inputs: Inputs, change: object = None, sae: TopKSAE | None = None, **options: object
) -> Tensor:
    if change is None:
        return lm.activations(inputs, [LAYER])[LAYER]
    with steering(lm, sae, change, inputs, **options):
        return lm.activations(inputs, [LAYER])[LAYER]


def logits(lm: AudioLM, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        return lm.model(**inputs.tensors).logits


# ---- the pure function ---------------------------------------------------------------------------------------------


def test_clamp_by_hand() -> None:
    sae = mirror_sae(k=2, d_in=3)
    x = torch.tensor([[3.0, -2.0, 1.0]])
    plain = apply_clamp(sae, x, Clamp((), ()))
    assert plain.x_hat.tolist() == [[3.0, -2.0, 0.0]]
    assert plain.survived.shape == (1, 0)
    high = apply_clamp(sae, x, Clamp((2,), (5.0,)))  # 5 takes a place, −2 is dropped
    assert high.x_hat.tolist() == [[3.0, 0.0, 5.0]]
    assert high.z.tolist() == [[3.0, 0, 5.0, 0, 0, 0]]
    assert high.survived.tolist() == [[True]]


def test_dead_zone_by_hand() -> None:
    sae = mirror_sae(k=2, d_in=3)
    x = torch.tensor([[3.0, -2.0, 1.0]])
    low = apply_clamp(sae, x, Clamp((2,), (1.5,)))  # below the second latent: vanishes
    assert low.x_hat.tolist() == [[3.0, -2.0, 0.0]]
    assert low.survived.tolist() == [[False]]
    after = apply_clamp(sae, x, Clamp((2,), (1.5,), when="after_topk"))
    assert after.x_hat.tolist() == [[3.0, -2.0, 1.5]]
    assert after.survived.tolist() == [[True]]
    assert after.z.count_nonzero() == 3
    negative = apply_clamp(sae, x, Clamp((2,), (-4.0,)))
    assert negative.survived.tolist() == [[False]]
    assert apply_clamp(sae, x, Clamp((2,), (-4.0,), when="after_topk")).x_hat.tolist() == [[3.0, -2.0, -4.0]]


@pytest.mark.parametrize("when", ["before_topk", "after_topk"])
def test_zero_ablates(when: str) -> None:
    sae = mirror_sae(k=2, d_in=3)
    out = apply_clamp(sae, torch.tensor([[3.0, -2.0, 1.0]]), Clamp((0,), (0.0,), when=when))
    # Before TopK the freed place goes to the next latent; after TopK it stays empty.
    assert out.x_hat.tolist() == ([[0.0, -2.0, 1.0]] if when == "before_topk" else [[0.0, -2.0, 0.0]])
    assert out.survived.all()


def test_several_latents_and_error_term_by_hand() -> None:
    sae = mirror_sae(k=2, d_in=3)
    x = torch.tensor([[3.0, -2.0, 1.0]])
    two = Clamp((2, 3), (7.0, 6.0))  # latent 3 is the negative half of dimension 0
    out = apply_clamp(sae, x, two)
    assert out.x_hat.tolist() == [[-6.0, 0.0, 7.0]]
    kept = apply_clamp(sae, x, Clamp((2, 3), (7.0, 6.0), error_term=True))
    # x + x̂ − x̂₀ with x̂₀ = (3, −2, 0)
    assert kept.x_hat.tolist() == [[-6.0, 0.0, 8.0]]


def test_error_term_without_latents_is_exactly_x() -> None:
    x = torch.randn(5, D, generator=torch.Generator().manual_seed(0))
    assert apply_clamp(random_sae(), x, Clamp((), (), error_term=True)).x_hat.equal(x)


def test_poly_and_difference_of_means_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert poly_clamp(x, [1], [9.0]).tolist() == [[1.0, 9.0], [3.0, 9.0]]
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert difference_of_means(x, torch.tensor([[10.0, 0.0]])).tolist() == [8.0, -3.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clamp((1, 2), (3.0,)), "2 latents and 1 values"),
        (lambda: Clamp((1, 1), (3.0, 3.0)), "twice"),
        (lambda: Clamp((-1,), (3.0,)), "-1"),
        (lambda: Clamp((1,), (math.nan,)), "nan"),
        (lambda: Clamp((1,), (1.0,), when="later"), "before_topk, after_topk"),
        (lambda: Clamp((1,), (1.0,), positions="text"), "audio, prompt, all"),
        (lambda: Clamp((1,), (1.0,), decoding="on"), "replace, clamp, off"),
        (lambda: PolyClamp((), ()), "dims is empty"),
        (lambda: PolyClamp((0,), (1.0,), decoding="replace"), "clamp, off"),
        (lambda: DiffOfMeans(torch.ones(2, 2)), "one row"),
        (lambda: DiffOfMeans(torch.ones(2), math.inf), "alpha is inf"),
        (lambda: difference_of_means(torch.ones(0, 2), torch.ones(1, 2)), "at least one token"),
        (lambda: difference_of_means(torch.ones(1, 3), torch.ones(1, 2)), "same d_in"),
        (lambda: poly_clamp(torch.ones(1, 3), [3], [1.0]), "from 0 to 2"),
        (lambda: apply_clamp(mirror_sae(d_in=3, k=1), torch.ones(1, 3), Clamp((6,), (1.0,))), "from 0 to 5"),
        (lambda: check_change(Clamp((), ()), 3, None), "needs an SAE"),
        (lambda: check_change(DiffOfMeans(torch.ones(2)), 3, None), "2 entries"),
    ],
)
def test_wrong_requests_are_refused(make: object, message: str) -> None:
    with pytest.raises(SteeringError, match=message):
        make()


# ---- in the model: prefill -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", ["audio", "prompt", "all"])
@pytest.mark.parametrize("when", ["before_topk", "after_topk"])
def test_the_residual_is_what_the_formula_says(lm: AudioLM, inputs: Inputs, positions: str, when: str) -> None:
    sae, clamp = mirror_sae(k=5), Clamp((3,), (0.7,), when=when, positions=positions)
    x = residual(lm, inputs)
    got = residual(lm, inputs, clamp, sae)
    where = {"audio": inputs.audio, "prompt": inputs.text, "all": inputs.audio | inputs.text}[positions]
    expected = x.clone()
    expected[where] = apply_clamp(sae, x[where], clamp).x_hat
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    assert got[inputs.prefix].equal(x[inputs.prefix])
    assert got[inputs.padding].equal(x[inputs.padding])
    assert not torch.allclose(got[where], x[where])


def test_identity_sae_sets_one_dimension(lm: AudioLM, inputs: Inputs) -> None:
    x = residual(lm, inputs)
    got = residual(lm, inputs, Clamp((4,), (9.0,)), mirror_sae())
    real = inputs.audio | inputs.text
    expected = x.clone()
    expected[..., 4] = torch.where(real, 9.0 - (-x[..., 4]).relu(), x[..., 4])
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)


def test_reconstruct_only(lm: AudioLM, inputs: Inputs) -> None:
    sae, real = random_sae(), inputs.audio | inputs.text
    x = residual(lm, inputs)
    got = residual(lm, inputs, Clamp((), ()), sae)
    torch.testing.assert_close(got[real], sae(x[real]).x_hat, atol=1e-5, rtol=0)
    perfect = residual(lm, inputs, Clamp((), ()), mirror_sae())
    torch.testing.assert_close(perfect, x, atol=1e-6, rtol=0)


def test_error_term_without_latents_leaves_the_logits(lm: AudioLM, inputs: Inputs) -> None:
    before = logits(lm, inputs)
    with steering(lm, random_sae(), Clamp((), (), error_term=True), inputs):
        torch.testing.assert_close(logits(lm, inputs), before, atol=1e-5, rtol=0)
    with steering(lm, random_sae(), Clamp((), ()), inputs):
        assert (logits(lm, inputs) - before).abs().max() > 1e-2


def test_later_layers_see_the_change(lm: AudioLM, inputs: Inputs) -> None:
    before = lm.activations(inputs, [0, 3])
    with steering(lm, mirror_sae(), Clamp((4,), (9.0,)), inputs):
        after = lm.activations(inputs, [0, 3])
    assert after[0].equal(before[0])
    assert not torch.allclose(after[3], before[3])


def test_batches_of_mixed_length_equal_one_by_one(lm: AudioLM, inputs: Inputs) -> None:
    sae, clamp = random_sae(), Clamp((1, 7), (4.0, 2.0))
    with steering(lm, sae, clamp, inputs) as together:
        batched = lm.activations(inputs, [3])[3]
        counted = together.report
    singles = SteeringReport()
    for i, (clip, prompt) in enumerate(zip(AUDIOS, PROMPTS, strict=True)):
        one = lm.prepare([clip], [prompt])
        with steering(lm, sae, clamp, one) as active:
            alone = lm.activations(one, [3])[3][0]
        torch.testing.assert_close(batched[i][~inputs.padding[i]], alone, atol=1e-4, rtol=0)
        singles.add(active.report)
    assert (counted.positions, counted.vanished, counted.sinks) == (singles.positions, singles.vanished, singles.sinks)
    assert counted.norm_ratio == pytest.approx(singles.norm_ratio, rel=1e-4)


def test_poly_and_difference_of_means_in_the_model(lm: AudioLM, inputs: Inputs) -> None:
    x, hookpoint = residual(lm, inputs), f"layers.{LAYER}"
    poly = residual(lm, inputs, PolyClamp((2,), (6.0,), positions="audio"), hookpoint=hookpoint)
    expected = x.clone()
    expected[..., 2] = torch.where(inputs.audio, 6.0, x[..., 2])
    assert poly.equal(expected)
    vector = torch.arange(D, dtype=torch.float32)
    moved = residual(lm, inputs, DiffOfMeans(vector, 0.5, positions="prompt"), hookpoint=hookpoint)
    torch.testing.assert_close(moved, x + 0.5 * vector * inputs.text[..., None], atol=1e-5, rtol=0)


def test_sinks_are_left_alone(lm: AudioLM, inputs: Inputs) -> None:
    sink = inputs.audio.nonzero()[3].tolist()

    def swell(x: Tensor, context: object) -> Tensor:
        y = x.clone()
        y[sink[0], sink[1]] *= 1000
        return y

    clamp, sae = Clamp((4,), (9.0,)), mirror_sae()
    with replace(lm, LAYER, swell):
        x = residual(lm, inputs)
        with steering(lm, sae, clamp, inputs) as active:
            got = lm.activations(inputs, [LAYER])[LAYER]
        everywhere = residual(lm, inputs, clamp, sae, sink_factor=None)
    assert got[*sink].equal(x[*sink])
    assert active.report.sinks == 1
    assert active.report.positions == int((inputs.audio | inputs.text).sum()) - 1
    assert not everywhere[*sink].equal(x[*sink])


def test_excluded_positions_are_left_alone(lm: AudioLM, inputs: Inputs) -> None:
    exclude = torch.zeros_like(inputs.audio)
    exclude[:, -3:] = True
    x = residual(lm, inputs)
    got = residual(lm, inputs, Clamp((4,), (9.0,)), mirror_sae(), exclude=exclude)
    assert got[:, -3:].equal(x[:, -3:])
    assert not got[:, -4].equal(x[:, -4])


# ---- in the model: decoding ----------------------------------------------------------------------------------------


def decoded_pair(lm: AudioLM, inputs: Inputs, sae: TopKSAE, clamp: Clamp) -> list[tuple[Tensor, Tensor]]:
    """(x before, x after) at the steered layer for each decoding step of a generation."""
    steps: list[tuple[Tensor, Tensor]] = []
    before: list[Tensor] = []

    def note(x: Tensor, context: object) -> Tensor:
        before.append(x.clone())
        return x

    def pair(x: Tensor, context: object) -> Tensor:
        steps.append((before[-1][:, 0], x[:, 0].clone()))
        return x

    with replace(lm, LAYER, note), steering(lm, sae, clamp, inputs), replace(lm, LAYER, pair):
        lm.model.generate(**inputs.tensors, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    return steps[1:]


@pytest.mark.parametrize("decoding", ["replace", "clamp", "off"])
def test_what_happens_while_decoding(lm: AudioLM, inputs: Inputs, decoding: str) -> None:
    sae, clamp = random_sae(), Clamp((3,), (8.0,), decoding=decoding)
    steps = decoded_pair(lm, inputs, sae, clamp)
    assert len(steps) == 3
    for x, new in steps:
        expected = {"replace": sae(x).x_hat, "clamp": apply_clamp(sae, x, clamp).x_hat, "off": x}[decoding]
        torch.testing.assert_close(new, expected, atol=1e-5, rtol=0)


def test_decoding_is_its_own_switch_beside_positions(lm: AudioLM, inputs: Inputs) -> None:
    sae = random_sae()
    for x, new in decoded_pair(lm, inputs, sae, Clamp((3,), (8.0,), positions="audio")):
        torch.testing.assert_close(new, sae(x).x_hat, atol=1e-5, rtol=0)


@pytest.mark.parametrize("decoding", ["replace", "clamp", "off"])
def test_a_given_answer_is_steered_as_if_decoded(lm: AudioLM, decoding: str) -> None:
    sae, clamp = random_sae(), Clamp((3,), (8.0,), decoding=decoding)
    prompt = lm.prepare(AUDIOS[:1], PROMPTS[:1])
    with steering(lm, sae, clamp, prompt):
        out = lm.model.generate(
            **prompt.tensors, max_new_tokens=5, min_new_tokens=5, output_logits=True, return_dict_in_generate=True
        )
    ids = out.sequences[0, prompt.length :]
    stepwise = torch.stack(out.logits)[:, 0].log_softmax(-1).gather(-1, ids[:, None]).sum()
    given = lm.prepare(AUDIOS[:1], PROMPTS[:1], ["x"], end_answer=False)
    assert given.length == prompt.length + 1
    extra = torch.ones(1, 4, dtype=torch.bool)
    tensors = given.tensors | {
        "input_ids": out.sequences,
        "attention_mask": torch.ones_like(out.sequences),
    }
    masks = {
        name: torch.cat([getattr(given, name), extra if name in ("text", "answer") else ~extra], dim=1)
        for name in ("audio", "text", "answer", "prefix", "padding")
    }
    whole = Inputs(tensors, audio_tokens=given.audio_tokens, **masks)
    with steering(lm, sae, clamp, whole):
        torch.testing.assert_close(lm.answer_log_probs(whole)[0], stepwise, atol=1e-3, rtol=0)


def test_without_a_cache_the_same_positions_are_steered(lm: AudioLM, inputs: Inputs) -> None:
    sae, clamp = random_sae(), Clamp((3,), (8.0,))
    settings = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    with steering(lm, sae, clamp, inputs):
        cached = lm.model.generate(**inputs.tensors, **settings)
        uncached = lm.model.generate(**inputs.tensors, **settings, use_cache=False)
    assert cached.equal(uncached)


def test_steered_generation_batched_equals_one_by_one(lm: AudioLM) -> None:
    sae, clamp = random_sae(), Clamp((3, 9), (8.0, 5.0), decoding="clamp")
    together = steer_generate(lm, sae, clamp, AUDIOS, PROMPTS, max_new_tokens=6)
    assert together == steer_generate(lm, sae, clamp, AUDIOS, PROMPTS, max_new_tokens=6, batch_size=1)
    plain = steer(lm, None, None, AUDIOS, PROMPTS, max_new_tokens=6)
    assert plain.texts == lm.generate(lm.prepare(AUDIOS, PROMPTS), 6)
    assert plain.report == SteeringReport()
    assert together != plain.texts


# ---- reports, hooks, refusals --------------------------------------------------------------------------------------


def test_report_counts_the_dead_zone(lm: AudioLM, inputs: Inputs) -> None:
    sae = mirror_sae(k=5)
    real = inputs.audio | inputs.text
    x = residual(lm, inputs)[real]
    value = float(x.abs().sort(-1, descending=True).values[:, 4].median())  # the k-th latent's median
    clamp = Clamp((3, 10), (value, 1e3))
    with steering(lm, sae, clamp, inputs) as active:
        lm.activations(inputs, [LAYER])
    out = apply_clamp(sae, x, clamp)
    report = active.report
    assert report.positions == int(real.sum())
    assert report.vanished == (~out.survived).sum(0).tolist()
    assert 0.2 < report.dead_zone_by_latent[0] < 0.9
    assert report.dead_zone_by_latent[1] == 0.0
    assert report.dead_zone == pytest.approx(report.dead_zone_by_latent[0] / 2)
    assert report.norm_ratio == pytest.approx(float(out.x_hat.norm(dim=-1).sum() / x.norm(dim=-1).sum()), rel=1e-4)
    change = float((out.x_hat - x).norm(dim=-1).sum() / x.norm(dim=-1).sum())
    assert report.relative_change == pytest.approx(change, rel=1e-4)


def test_an_empty_report_has_no_shares() -> None:
    report = SteeringReport()
    assert all(math.isnan(one) for one in (report.dead_zone, report.norm_ratio, report.relative_change))
    with pytest.raises(ValueError, match="1 and 2 latents"):
        SteeringReport(1, [0]).add(SteeringReport(1, [0, 0]))


def test_hooks_go_after_errors(lm: AudioLM, inputs: Inputs) -> None:
    hooks, before = hooks_left(lm), residual(lm, inputs)
    active = steering(lm, mirror_sae(), Clamp((4,), (9.0,)), inputs)
    with pytest.raises(ZeroDivisionError), active:
        _ = 1 / 0
    assert hooks_left(lm) == hooks
    other = lm.prepare(AUDIOS[:1], PROMPTS[:1])
    with pytest.raises(SteeringError, match="runs 1 rows but steering was set up for 3"), active:
        lm.generate(other, 2)
    assert hooks_left(lm) == hooks
    assert residual(lm, inputs).equal(before)


def test_an_sae_that_does_not_fit_is_refused(lm: AudioLM, inputs: Inputs) -> None:
    nothing = Clamp((), ())
    with pytest.raises(SAEError, match="32 values a token"):
        Steering(lm, mirror_sae(d_in=16, k=2), nothing, inputs)
    with pytest.raises(SAEError, match=r"layers\.0"):
        Steering(lm, mirror_sae(), nothing, inputs, hookpoint="layers.0")
    with pytest.raises(ValueError, match="0 to 3"):
        Steering(lm, mirror_sae(hookpoint="layers.26"), nothing, inputs)
    with pytest.raises(SteeringError, match="from 0 to 63"):
        Steering(lm, mirror_sae(), Clamp((64,), (1.0,)), inputs)
    with pytest.raises(SteeringError, match="hookpoint is unknown"):
        Steering(lm, None, PolyClamp((0,), (1.0,)), inputs)
    with pytest.raises(SteeringError, match=r"exclude has shape \(1, 2\)"):
        Steering(lm, mirror_sae(), nothing, inputs, exclude=torch.zeros(1, 2, dtype=torch.bool))
    with pytest.raises(SteeringError, match="batch_size is 0"):
        steer(lm, mirror_sae(), nothing, AUDIOS, PROMPTS, batch_size=0)


# ---- dose and response ---------------------------------------------------------------------------------------------


def test_dose_response_equals_one_at_a_time(lm: AudioLM) -> None:
    sae, clamp, answers = random_sae(), Clamp((3,), (1.0,)), ["female", "male", "A dog barks."]
    got = dose_response(lm, sae, clamp, [0.0, 20.0], AUDIOS, PROMPTS, answers, batch_size=4)
    assert got.log_probs.shape == (2, 3, 3)
    assert got.values == [0.0, 20.0]
    for clip in range(3):
        for option, answer in enumerate(answers):
            one = lm.prepare([AUDIOS[clip]], [PROMPTS[clip]], [answer])
            assert float(got.baseline[clip, option]) == pytest.approx(float(lm.answer_log_probs(one)), abs=1e-3)
            with steering(lm, sae, Clamp((3,), (20.0,)), one):
                expected = float(lm.answer_log_probs(one))
            assert float(got.log_probs[1, clip, option]) == pytest.approx(expected, abs=1e-3)
    assert got.dead_zone[1] == 0.0


def test_dose_response_of_the_comparators(lm: AudioLM) -> None:
    change = DiffOfMeans(torch.ones(D))
    got = dose_response(lm, None, change, [0.0, 3.0], AUDIOS, PROMPTS, ["male"], hookpoint=f"layers.{LAYER}")
    torch.testing.assert_close(got.log_probs[0], got.baseline, atol=1e-4, rtol=0)
    assert (got.log_probs[1] - got.baseline).abs().max() > 1e-3
    with pytest.raises(SteeringError, match="0 values and 1 answers"):
        dose_response(lm, None, change, [], AUDIOS, PROMPTS, ["male"])
    with pytest.raises(SteeringError, match="3 clips and 1 prompts"):
        dose_response(lm, None, change, [1.0], AUDIOS, PROMPTS[:1], ["male"])


def test_a_reader_inside_steering_sees_what_flows_on(lm: AudioLM, inputs: Inputs) -> None:
    with steering(lm, mirror_sae(), Clamp((4,), (9.0,)), inputs), read(lm, [LAYER], stop=True) as got:
        lm.model(**inputs.tensors)
    assert (got[LAYER][inputs.audio][:, 4] <= 9.0).all()
    assert not got[LAYER][inputs.audio][:, 4].equal(residual(lm, inputs)[inputs.audio][:, 4])
