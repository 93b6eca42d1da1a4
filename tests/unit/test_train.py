from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ard.metrics import Metrics, activation_stats, evaluate, geometric_median
from ard.sae import SAEConfig, SAEError, TopKSAE
from ard.train import TrainConfig, auxk_loss, fit, initial_sae, learning_rate, token_batches

CFG = SAEConfig("layers.0", d_in=16, expansion=4.0, k=4, recipe="recommended")


def world(tokens: int = 4000, directions: int = 24, seed: int = 0) -> torch.Tensor:
    """Tokens that are sparse sums of known directions, plus a constant offset."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.nn.functional.normalize(
        torch.randn(directions, 16, generator=torch.Generator().manual_seed(1)), dim=1
    )
    on = torch.rand(tokens, directions, generator=generator) < 0.08
    size = 1 + 4 * torch.rand(tokens, directions, generator=generator)
    return (on * size) @ basis + 3.0


def test_batches_are_whole_passes_in_seeded_order() -> None:
    drawn = list(token_batches(10, 4, 5, seed=0))
    assert [len(batch) for batch in drawn] == [4] * 5
    joined = torch.cat(drawn)
    assert sorted(joined[:10].tolist()) == list(range(10))
    assert sorted(joined[10:].tolist()) == list(range(10))
    assert torch.equal(joined, torch.cat(list(token_batches(10, 4, 5, seed=0))))
    assert not torch.equal(joined, torch.cat(list(token_batches(10, 4, 5, seed=1))))
    assert len(next(token_batches(3, 8, 1, seed=0))) == 8


def test_learning_rate_rises_stays_and_falls() -> None:
    train = TrainConfig(steps=10, lr=1.0, warmup=2, decay=4)
    assert [learning_rate(step, train) for step in range(10)] == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert learning_rate(0, TrainConfig(steps=10, lr=1.0, warmup=0, decay=0)) == 1.0


def test_recipes_fill_the_gaps() -> None:
    paper = TrainConfig(steps=100).resolve(replace(CFG, recipe="paper"), 1000)
    assert (paper.lr, paper.warmup, paper.decay, paper.auxk_coef) == (1e-5, 0, 0, 0.0)
    ours = TrainConfig(steps=100).resolve(CFG, 1000)
    assert ours.lr == pytest.approx(2e-4 / math.sqrt(64 / 16384))
    assert (ours.warmup, ours.decay, ours.auxk_coef, ours.auxk, ours.dead_after_tokens) == (5, 20, 1 / 32, 8, 1000)
    assert TrainConfig(lr=0.5, auxk_coef=0.0).resolve(CFG, 1000).lr == 0.5


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 0}, {"lr": -1.0}, {"compute": "int8"}, {"auxk_coef": -1.0}])
def test_bad_training_values_are_refused(wrong: dict) -> None:
    with pytest.raises(SAEError, match=next(iter(wrong))):
        fit(world(100), CFG, replace(TrainConfig(steps=1, batch=8), **wrong))


def test_statistics_and_geometric_median_by_hand() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3.0, -4.0]])
    stats = activation_stats(x)
    assert stats.mean.tolist() == [2.0, 0.0]
    assert stats.mean_norm == pytest.approx(10 / 3)
    line = torch.tensor([[0.0], [1.0], [100.0]])
    assert float(geometric_median(line, steps=1000)[0]) == pytest.approx(1.0, abs=1e-3)  # the median, not the mean
    with pytest.raises(SAEError, match="not finite"):
        activation_stats(torch.tensor([[math.inf, 0.0]]))
    with pytest.raises(SAEError, match="0 tokens"):
        activation_stats(torch.zeros(0, 2))


def identity_sae(k: int) -> TopKSAE:
    sae = TopKSAE(SAEConfig("layers.0", d_in=2, expansion=1.0, k=k, recipe="paper"))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(2))
        sae.W_dec.copy_(torch.eye(2))
        sae.b_enc.zero_()
    return sae


def test_metrics_by_hand() -> None:
    x = torch.tensor([[3.0, 1.0], [1.0, 0.0], [2.0, 2.0], [2.0, -3.0]])  # mean [2, 0]
    # k = 1 keeps the first of each row: residuals [0, 1], [0, 0], [0, 2], [0, -3]: 14; variance 2+1+4+9 = 16
    assert evaluate(identity_sae(1), x) == Metrics(fvu=14 / 16, l0=1.0, dead_fraction=0.5, tokens=4)
    # k = 2 loses only the -3 to the ReLU
    assert evaluate(identity_sae(2), x) == Metrics(fvu=9 / 16, l0=1.5, dead_fraction=0.0, tokens=4)


@pytest.mark.parametrize("batch", [1, 3, 64, 1000])
def test_metrics_do_not_depend_on_the_batch(batch: int) -> None:
    x, sae = world(257), TopKSAE(CFG)
    whole, parts = evaluate(sae, x, batch=257), evaluate(sae, x, batch=batch)
    assert parts.fvu == pytest.approx(whole.fvu, rel=1e-6)
    assert parts[1:] == whole[1:]


def test_metrics_of_equal_tokens_are_refused() -> None:
    with pytest.raises(SAEError, match="equal"):
        evaluate(identity_sae(1), torch.ones(5, 2))


def test_start_of_the_recommended_recipe() -> None:
    x = world()
    sae = initial_sae(x, CFG, TrainConfig())
    assert float((x * sae.cfg.scale).norm(dim=1).mean()) == pytest.approx(4.0, rel=1e-5)  # sqrt(16)
    assert sae.b_dec is not None
    assert torch.allclose(sae.b_dec, (x * sae.cfg.scale).mean(0), atol=1e-5)
    median = initial_sae(x, CFG, TrainConfig(b_dec_init="median"))
    assert median.b_dec is not None
    assert not torch.allclose(median.b_dec, sae.b_dec, atol=1e-3)
    assert initial_sae(x, replace(CFG, scale=0.5), TrainConfig()).cfg.scale == 0.5
    assert initial_sae(x, replace(CFG, recipe="paper"), TrainConfig()).cfg.scale == 1.0


def test_training_explains_held_out_tokens() -> None:
    x, held_out = world(), world(1000, seed=5)
    train = TrainConfig(steps=400, batch=256, lr=3e-3, log_every=100)
    result = fit(x.half(), CFG, train, held_out)
    before = evaluate(initial_sae(x, CFG, train), held_out)
    assert result.metrics.fvu < 0.15 < before.fvu
    assert result.metrics.l0 <= 4
    assert result.metrics.tokens == 1000
    assert [row["step"] for row in result.curves] == [100, 200, 300, 400]
    assert result.curves[-1]["fvu"] < result.curves[0]["fvu"]
    assert torch.allclose(result.sae.W_dec.norm(dim=1), torch.ones(64), atol=1e-5)
    assert {"loss", "fvu", "l0", "dead_fraction", "tokens_per_s", "lr", "tokens"} <= set(result.curves[0])


def test_paper_recipe_trains_without_bias_or_unit_rows() -> None:
    cfg = replace(CFG, recipe="paper")
    result = fit(world(), cfg, TrainConfig(steps=150, batch=256, lr=3e-3))
    assert result.sae.b_dec is None
    assert result.metrics.fvu < evaluate(TopKSAE(cfg), world()).fvu
    assert not torch.allclose(result.sae.W_dec.norm(dim=1), torch.ones(64), atol=1e-3)


def test_the_same_seed_gives_the_same_weights() -> None:
    train = TrainConfig(steps=20, batch=64)
    first, again = fit(world(500), CFG, train), fit(world(500), CFG, train)
    other = fit(world(500), CFG, replace(train, seed=1))
    assert torch.equal(first.sae.W_enc, again.sae.W_enc)
    assert not torch.equal(first.sae.W_enc, other.sae.W_enc)


def test_bfloat16_compute_keeps_float32_weights() -> None:
    result = fit(world(), CFG, TrainConfig(steps=200, batch=256, lr=3e-3, compute="bfloat16"))
    assert result.sae.W_enc.dtype == torch.float32
    assert result.metrics.fvu < 0.4


def test_auxk_by_hand() -> None:
    sae = identity_sae(2)
    pre = torch.tensor([[0.0, 2.0], [0.0, -1.0]])
    residual = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
    # latent 1 is dead: ê = [0, 2] and [0, 0]; squared errors 1 + 1 and 4
    assert auxk_loss(sae, pre, residual, torch.tensor([1]), auxk=8).item() == pytest.approx(3.0)


def test_auxk_revives_dead_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    x, cfg = world(), replace(CFG, k=2, seed=4)
    short = TrainConfig(steps=500, batch=256, lr=3e-3, dead_after_tokens=2000)

    def dead_after(coef: float) -> float:
        # Latents start far below the k-th place, so that most are never chosen.
        start = initial_sae(x, cfg, short)
        with torch.no_grad():
            start.b_enc[8:] = -1.0
        monkeypatch.setattr("ard.train.initial_sae", lambda *_: start)
        return fit(x, cfg, replace(short, auxk_coef=coef)).metrics.dead_fraction

    without, revived = dead_after(0.0), dead_after(1 / 32)
    assert without > 0
    assert revived < without


def test_progress_counts_every_step() -> None:
    seen: list[tuple[int, int]] = []
    fit(world(50), CFG, TrainConfig(steps=3, batch=8), progress=lambda done, steps: seen.append((done, steps)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_wrong_shapes_and_divergence_are_refused() -> None:
    with pytest.raises(SAEError, match=r"\[tokens, 16\]"):
        fit(torch.zeros(10, 8), CFG, TrainConfig(steps=1))
    with pytest.raises(SAEError, match="held_out"):
        fit(world(50), CFG, TrainConfig(steps=1), torch.zeros(10, 8))
    with pytest.raises(SAEError, match="lower lr"):
        fit(world(500), replace(CFG, recipe="paper"), TrainConfig(steps=60, batch=64, lr=1e20))
