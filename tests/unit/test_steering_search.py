from __future__ import annotations

import numpy as np
import pytest
import torch

from ard.clamp_rows import EachRow, apply_each
from ard.clamps import Clamp, DiffOfMeans, PolyClamp, SteeringError, apply_clamp, poly_clamp
from ard.embedded import embedded, rows_of, with_answers
from ard.models.audio_lm import AudioLM
from ard.models.inputs import InputError
from ard.sae import SAEConfig, TopKSAE
from ard.shared_prefill import last_mlp_once, prefilled, prefix
from ard.steering import Steering, steer
from ard.steering_search import Bench, interleaved, matched_latents
from tests.fixtures.models import tiny_audio_model, tiny_audio_processor, tone

D_IN = 32
PROMPT = "Is it low?"
LENGTHS = (1.0, 0.5, 1.7, 1.0)


@pytest.fixture(scope="module")
def lm() -> AudioLM:
    torch.set_num_threads(1)
    processor = tiny_audio_processor()
    return AudioLM(tiny_audio_model(processor, d_model=D_IN), processor)


@pytest.fixture(scope="module")
def sae() -> TopKSAE:
    return TopKSAE(SAEConfig(hookpoint="layers.1", d_in=D_IN, expansion=2, k=4, recipe="recommended"))


@pytest.fixture(scope="module")
def sounds() -> list[np.ndarray]:
    return [tone(seconds, 200.0 * (i + 1), seed=i) for i, seconds in enumerate(LENGTHS)]


# -- one clamp a row ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before_topk", "after_topk"])
@pytest.mark.parametrize("error_term", [False, True])
def test_each_row_equals_its_own_clamp(sae: TopKSAE, when: str, error_term: bool) -> None:
    x = torch.randn(6, D_IN, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([0, 2, 1, 1, 0, 2])
    clamps = tuple(Clamp((i, i + 5), (3.0 * i - 1, 2.0), when, error_term) for i in range(3))  # type: ignore[arg-type]
    found = apply_each(x, rows, EachRow(clamps), sae)
    for n, row in enumerate(rows.tolist()):
        alone = apply_clamp(sae, x[n], clamps[row])
        torch.testing.assert_close(found.x_hat[n], alone.x_hat)
        assert found.survived[n].tolist() == alone.survived.tolist()


def test_each_row_of_raw_dimensions(sae: TopKSAE) -> None:
    x = torch.randn(4, D_IN, generator=torch.Generator().manual_seed(1))
    clamps = (PolyClamp((3,), (9.0,)), PolyClamp((7,), (-2.0,)))
    found = apply_each(x, torch.tensor([1, 0, 0, 1]), EachRow(clamps))
    for n, row in enumerate((1, 0, 0, 1)):
        assert torch.equal(found.x_hat[n], poly_clamp(x[n], clamps[row].dims, clamps[row].values))


def test_each_row_of_directions() -> None:
    x = torch.randn(3, D_IN, generator=torch.Generator().manual_seed(3))
    v, w = torch.arange(D_IN).float(), torch.ones(D_IN)
    found = apply_each(x, torch.tensor([1, 0, 1]), EachRow((DiffOfMeans(v, 2.0), DiffOfMeans(w, -1.0))))
    torch.testing.assert_close(found.x_hat, torch.stack([x[0] - w, x[1] + 2 * v, x[2] - w]))


def test_a_row_that_clamps_nothing_is_reconstructed(sae: TopKSAE) -> None:
    x = torch.randn(3, D_IN, generator=torch.Generator().manual_seed(2))
    found = apply_each(x, torch.tensor([0, 0, 1]), EachRow((Clamp((), ()), Clamp((), ()))), sae)
    with torch.no_grad():
        torch.testing.assert_close(found.x_hat, sae(x).x_hat)
    assert found.survived.shape == (3, 0)


def test_rows_must_be_alike_and_as_many_as_clips(lm: AudioLM, sae: TopKSAE, sounds: list[np.ndarray]) -> None:
    with pytest.raises(SteeringError, match="differ in kind"):
        EachRow((Clamp((1,), (1.0,)), Clamp((1, 2), (1.0, 1.0))))
    with pytest.raises(SteeringError, match="differ in kind"):
        EachRow((Clamp((1,), (1.0,)), Clamp((1,), (1.0,), positions="audio")))
    with pytest.raises(SteeringError, match="clamps is empty"):
        EachRow(())
    inputs = lm.prepare(sounds[:2], [PROMPT] * 2)
    with pytest.raises(SteeringError, match="1 clamps were given for 2 rows"):
        Steering(lm, sae, EachRow((Clamp((1,), (1.0,)),)), inputs)
    with pytest.raises(SteeringError, match="latents contains 999"):
        Steering(lm, sae, EachRow((Clamp((1,), (1.0,)), Clamp((999,), (1.0,)))), inputs)


# -- the bench ----------------------------------------------------------------------------------------------------


def test_sound_encoded_once_gives_the_same_answers(lm: AudioLM, sounds: list[np.ndarray]) -> None:
    inputs = lm.prepare(sounds, [PROMPT] * 4)
    once = embedded(lm, inputs)
    assert "input_features" not in once.tensors
    assert lm.generate(once, 8) == lm.generate(inputs, 8)
    assert lm.generate(rows_of(once, [2, 0, 2]), 8) == [lm.generate(inputs, 8)[i] for i in (2, 0, 2)]


def test_an_answer_after_the_encoded_sound_reads_like_one_prepared_with_it(
    lm: AudioLM, sounds: list[np.ndarray]
) -> None:
    answers = ["low", "it is high, not low", "", "yes"]
    prepared = lm.prepare(sounds, [PROMPT] * 4, answers)
    joined = with_answers(lm, embedded(lm, lm.prepare(sounds, [PROMPT] * 4)), answers)
    for name in ("audio", "text", "answer", "prefix", "padding", "audio_tokens"):
        assert torch.equal(getattr(joined, name), getattr(prepared, name)), name
    real = ~prepared.padding
    assert torch.equal(joined.tensors["input_ids"][real], prepared.tensors["input_ids"][real])
    assert torch.equal(joined.tensors["attention_mask"], prepared.tensors["attention_mask"])
    for layer, x in lm.activations(prepared, [0, 1]).items():
        assert torch.allclose(lm.activations(joined, [0, 1])[layer][real], x[real], atol=1e-5)
    assert torch.allclose(lm.next_token_loss(joined), lm.next_token_loss(prepared), atol=1e-5)


def test_answers_that_do_not_fit_are_refused(lm: AudioLM, sounds: list[np.ndarray]) -> None:
    once = embedded(lm, lm.prepare(sounds, [PROMPT] * 4))
    with pytest.raises(InputError, match="4 clips"):
        with_answers(lm, once, ["low"])
    with pytest.raises(InputError, match="control token"):
        with_answers(lm, once, ["<|im_end|>"] * 4)
    with pytest.raises(InputError, match="already hold answers"):
        with_answers(lm, with_answers(lm, once, ["low"] * 4), ["low"] * 4)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_bench_steers_as_one_clip_at_a_time(
    lm: AudioLM, sae: TopKSAE, sounds: list[np.ndarray], batch_size: int
) -> None:
    bench = Bench(lm, sae, batch_size=batch_size, max_new_tokens=6)
    asked = bench.ask(sounds, PROMPT, lambda _: "source")
    assert asked.answers == [steer(lm, None, None, [s], [PROMPT], max_new_tokens=6).texts[0] for s in sounds]
    for clamps in (
        [Clamp((3,), (40.0,)), Clamp((9,), (25.0,)), Clamp((3,), (0.0,))],
        [Clamp((), ())],
        [PolyClamp((5,), (30.0,)), PolyClamp((6,), (-30.0,))],
        [DiffOfMeans(torch.linspace(-9, 9, D_IN)), DiffOfMeans(torch.ones(D_IN), 30.0)],
    ):
        jobs = [(clip, clamp) for clamp in clamps for clip in (1, 0, 3)]
        alone = [
            steer(lm, sae, clamp, [sounds[clip]], [PROMPT], max_new_tokens=6, hookpoint="layers.1").texts[0]
            for clip, clamp in jobs
        ]
        assert bench.answers(asked, jobs) == alone


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_shared_prefill_changes_nothing(lm: AudioLM, sounds: list[np.ndarray], layer: int) -> None:
    """Answers with layers 0 to `layer` taken from one pass a clip, and the last MLP on the last position alone."""
    once = embedded(lm, lm.prepare(sounds, [PROMPT] * 4))
    rows = [3, 0, 0, 2, 3, 1, 0]
    batch = rows_of(once, rows)
    plain = lm.generate(batch, 8)
    known = prefix(lm, layer, rows_of(once, [0, 1, 2, 3]))
    before = {name: module for name, module in lm.model.named_modules() if "forward" in vars(module)}
    with prefilled(lm, layer, known, rows):
        assert lm.generate(batch, 8) == plain
    with last_mlp_once(lm), prefilled(lm, layer, known, rows):
        assert lm.generate(batch, 8) == plain
    assert before == {name: module for name, module in lm.model.named_modules() if "forward" in vars(module)}
    torch.testing.assert_close(known.x, lm.activations(rows_of(once, [0, 1, 2, 3]), [layer])[layer])


def test_outcomes_count_each_clamp_on_its_own(lm: AudioLM, sae: TopKSAE, sounds: list[np.ndarray]) -> None:
    bench = Bench(lm, sae, max_new_tokens=6)
    untouched = steer(lm, None, None, sounds, [PROMPT] * 4, max_new_tokens=6).texts
    asked = bench.ask(sounds, PROMPT, lambda text: "source" if text in untouched else "target")
    assert asked.samples == [0, 1, 2, 3]
    strong, none = Clamp((3,), (500.0,)), PolyClamp((5,), (0.0,))

    def judge(text: str) -> str:
        return "source" if text in untouched else "target"

    turned = bench.outcomes(asked, [strong], judge, [0, 2])[0]  # type: ignore[arg-type]
    texts = bench.answers(asked, [(0, strong), (2, strong)])
    assert (turned.samples, turned.turned) == (2, sum(judge(t) == "target" for t in texts))
    assert turned.turned > 0
    assert bench.outcomes(asked, [none], judge, [1])[0].samples == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("positions", ["audio", "prompt", "all"])
def test_the_slope_is_the_derivative_of_the_answers_log_probability(
    lm: AudioLM, sae: TopKSAE, sounds: list[np.ndarray], positions: str
) -> None:
    """Against a central difference: x + δ·v at the clamped positions of every clip."""
    from ard.hooks import replace

    bench = Bench(lm, sae)
    asked = bench.ask(sounds, PROMPT, lambda _: "source")
    slope = bench.answer_slope(asked, "female", "male", positions, [0, 2])  # type: ignore[arg-type]
    v = torch.randn(D_IN, generator=torch.Generator().manual_seed(3))
    v /= v.norm()

    def difference(delta: float) -> float:
        total = 0.0
        for answer, sign in (("male", 1), ("female", -1)):
            inputs = lm.prepare([sounds[0], sounds[2]], [PROMPT] * 2, [answer] * 2, end_answer=False)
            where = {"audio": inputs.audio, "prompt": inputs.prompt, "all": inputs.audio | inputs.prompt}[positions]
            with replace(lm, 1, lambda x, _, where=where: x + delta * v * where[..., None]):
                total += sign * float(lm.answer_log_probs(inputs).double().sum())
        return total

    measured = (difference(5e-3) - difference(-5e-3)) / 1e-2
    assert float(slope @ v.numpy()) == pytest.approx(measured, rel=0.02, abs=0.02)


# -- choosing -----------------------------------------------------------------------------------------------------


def test_matched_latents_are_the_nearest_in_density() -> None:
    density = np.array([0.0, 0.10, 0.11, 0.50, 0.09, 0.0, 0.12, 0.90])
    assert set(matched_latents(density, 1, 5)) == {2, 3, 4, 6, 7}
    drawn = {matched_latents(density, 1, 1, seed)[0] for seed in range(40)}
    assert drawn == {2, 4, 6, 3}  # the 4 · count nearest, never the latent itself, never a dead one
    assert matched_latents(density, 1, 2, 7) == matched_latents(density, 1, 2, 7)
    assert matched_latents(density, 1, 0) == []


def test_candidates_come_from_every_ranking_in_turn() -> None:
    assert interleaved([[1, 2, 3], [3, 4, 5]], 4) == [1, 3, 2, 4]
    assert interleaved([[1], [1, 2, 3]], 5) == [1, 2, 3]
    assert interleaved([], 3) == []
    assert interleaved([[7, 7], [7, 8]], 2) == [7, 8]
