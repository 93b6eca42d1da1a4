"""Recipes, kernels, several SAEs at once, token sources, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from ard.kernels.active import Active
from ard.metrics import DensityBin, density_histogram
from ard.sae import SAEConfig, SAEError, TopKSAE
from ard.token_source import TensorSource, token_batches
from ard.train import FitResult, TrainConfig, fit, fit_many, initial_sae
from ard.train_run import SAERun
from ard.train_step import CompiledStep, Moments
from tests.unit.test_train import CFG, world

RECIPES = ("paper", "recommended", "batchtopk", "matryoshka")
SHORT = TrainConfig(steps=40, batch=128, lr=3e-3, log_every=10, kernels="sparse", dead_after_tokens=1000)


def same(one: TopKSAE, other: TopKSAE) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return one.cfg == other.cfg and all(torch.equal(mine[name], theirs[name]) for name in mine)


def losses(result: FitResult) -> torch.Tensor:
    return torch.tensor([row["loss"] for row in result.curves])


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kernels", ["dense", "sparse"])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_compiled_steps_follow_autograd(recipe: str, kernels: str, clip: float | None) -> None:
    cfg, train = replace(CFG, recipe=recipe), replace(SHORT, clip=clip)
    plain, compiled = (fit(world(), cfg, replace(train, kernels=name)) for name in ("plain", kernels))
    assert (plain.kernels, compiled.kernels) == ("plain", kernels)
    assert torch.allclose(losses(plain), losses(compiled), rtol=1e-4)
    for name, weight in plain.sae.state_dict().items():
        assert torch.allclose(weight, compiled.sae.state_dict()[name], atol=5e-3), name


@pytest.mark.parametrize("recipe", ["recommended", "matryoshka"])
def test_bfloat16_products_follow_float32(recipe: str) -> None:
    cfg = replace(CFG, recipe=recipe)
    exact, rounded = (fit(world(), cfg, replace(SHORT, compute=c)) for c in ("float32", "bfloat16"))
    assert torch.allclose(losses(exact), losses(rounded), rtol=2e-2)
    assert not torch.equal(exact.sae.W_enc, rounded.sae.W_enc)


def test_auxk_gradients_are_those_of_autograd() -> None:
    cfg = replace(CFG, k=2)
    train = replace(SHORT, auxk=5).resolve(cfg, 4000)
    results = []
    for kernels in ("plain", "dense", "sparse"):
        run = SAERun(initial_sae(world(), cfg, train), replace(train, kernels=kernels), world().double().mean(0))
        run.log.silent[3:40] = 10_000  # 37 dead latents, of which each token revives its 5 strongest
        run.step(world()[:256], 1)
        results.append((run.sae.state_dict(), run.moments))
    for weights, moments in results[1:]:
        for name, gradient in results[0][1].first.items():
            assert torch.allclose(moments.first[name], gradient, atol=1e-6, rtol=1e-3), name
            assert torch.allclose(weights[name], results[0][0][name], atol=1e-5), name
    assert float(results[0][1].first["W_enc"][3:40].abs().sum(1).min()) > 0  # AuxK reached the dead ones


def test_clipping_bounds_the_gradient() -> None:
    cfg = replace(CFG, recipe="paper")
    for kernels in ("plain", "dense", "sparse"):
        train = TrainConfig(steps=1, batch=64, lr=1e-9, clip=0.25, kernels=kernels).resolve(cfg, 500)
        run = SAERun(initial_sae(world(), cfg, train), train, world().double().mean(0))
        run.step(world()[:64], 1)
        first = torch.cat([m.flatten() for m in run.moments.first.values()])
        assert float(first.norm()) == pytest.approx(0.1 * 0.25, rel=1e-4)  # (1 − β₁) × the clipped gradient
    with pytest.raises(SAEError, match="clip"):
        fit(world(50), CFG, TrainConfig(clip=0.0))


def test_auto_measures_once_and_says_what_it_chose() -> None:
    result = fit(world(), CFG, replace(SHORT, kernels="auto"))
    assert result.measured_ms is not None
    assert result.kernels == min(result.measured_ms, key=result.measured_ms.__getitem__)
    again = fit(world(), CFG, replace(SHORT, kernels="auto"))
    assert again.measured_ms == result.measured_ms
    assert same(result.sae, fit(world(), CFG, replace(SHORT, kernels=result.kernels)).sae)


def test_batchtopk_keeps_k_a_token_on_average_and_uses_its_threshold(tmp_path: Path) -> None:
    cfg = replace(CFG, recipe="batchtopk")
    result = fit(world(), cfg, replace(SHORT, steps=400))
    assert result.curves[-1]["l0"] == pytest.approx(4.0)
    assert result.metrics.l0 == pytest.approx(4.0, rel=0.1)
    sae, x = result.sae, world()[:300]
    theta = sae.cfg.threshold
    assert theta is not None
    pre = sae.pre_activations(x)
    assert torch.equal(sae.encode(x), pre * (pre > theta))
    assert len(set((sae.encode(x) > 0).sum(1).tolist())) > 1  # not the same number for every token
    sae.save(tmp_path)
    assert same(sae, TopKSAE.load(tmp_path))
    assert sae.cfg.sae_id == "layers.0/e4/k4/batchtopk"
    untrained = TopKSAE(cfg)
    assert untrained.cfg.threshold is None
    assert int((untrained.encode(x) > 0).sum(1).max()) <= 4


def test_threshold_by_hand() -> None:
    cfg = SAEConfig("layers.0", 2, 1.0, 1, "batchtopk", extra={"threshold": 1.5})
    pre = torch.tensor([[1.5, 2.0], [float("nan"), 1.0]])
    z = TopKSAE(cfg).topk(pre)
    assert z[0].tolist() == [0.0, 2.0]
    assert z[1, 0].isnan()
    assert z[1, 1] == 0
    with pytest.raises(SAEError, match="threshold"):
        replace(cfg, extra={"threshold": -1.0})


def test_matryoshka_prefixes_reconstruct() -> None:
    cfg = replace(CFG, recipe="matryoshka")
    assert cfg.prefixes == (4, 8, 16, 32, 64)
    assert replace(cfg, extra={"prefixes": [10, 64]}).prefixes == (10, 64)
    for wrong in ([10, 63], [10, 10, 64], [0, 64], [64.0]):
        with pytest.raises(SAEError, match="prefixes"):
            replace(cfg, extra={"prefixes": wrong})
    x = world()

    def error_of_prefix(recipe: str) -> float:
        sae = fit(x, replace(CFG, recipe=recipe), replace(SHORT, steps=300, batch=256)).sae
        z = sae.encode(x).detach()
        z[:, 16:] = 0
        return float((sae.decode(z) - x).detach().square().sum())

    assert error_of_prefix("matryoshka") < 0.8 * error_of_prefix("recommended")


def test_saes_trained_together_equal_those_trained_alone() -> None:
    cfgs = [CFG, replace(CFG, k=2, recipe="paper"), replace(CFG, expansion=2.0, recipe="batchtopk")]
    seen: list[str] = []
    together = fit_many(world(), cfgs, SHORT, on_row=lambda sae_id, _: seen.append(sae_id))
    for cfg, result in zip(cfgs, together, strict=True):
        assert same(result.sae, fit(world(), cfg, SHORT).sae)
    assert seen[:3] == [cfg.sae_id for cfg in cfgs]
    assert len(seen) == 12


class Halves:
    """A source that is no tensor: every other batch comes from the other half of the rows."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x
        self.tokens, self.d_in = x.shape

    def batches(self, batch: int, steps: int, seed: int, skip: int = 0) -> Iterator[torch.Tensor]:
        order = token_batches(self.tokens // 2, batch, steps, seed)
        for i, rows in islice(enumerate(order), skip, None):
            yield self.x[rows + (i % 2) * (self.tokens // 2)]

    def sample(self, n: int, seed: int) -> torch.Tensor:
        return TensorSource(self.x).sample(n, seed)


def test_a_source_trains_like_its_batches_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    source = Halves(world())
    whole = fit(source, CFG, SHORT)
    assert whole.metrics.fvu < 1
    stopped = stop_after(25)
    with pytest.raises(KeyboardInterrupt):
        fit(source, CFG, SHORT, progress=stopped, checkpoint=tmp_path / "c", checkpoint_every=10)
    assert same(whole.sae, fit(source, CFG, SHORT, checkpoint=tmp_path / "c").sae)
    with pytest.raises(SAEError, match="16 values a token"):
        fit(source, replace(CFG, d_in=8), SHORT)


def stop_after(steps: int):
    def progress(done: int, _: int) -> None:
        if done == steps:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("kernels", ["plain", "dense", "sparse"])
def test_interrupted_training_ends_with_the_same_weights(tmp_path: Path, kernels: str, compute: str) -> None:
    cfgs = [replace(CFG, recipe="batchtopk"), replace(CFG, k=2)]
    train, path = replace(SHORT, kernels=kernels, compute=compute), tmp_path / "training.safetensors"
    whole = fit_many(world(), cfgs, train)
    with pytest.raises(KeyboardInterrupt):
        fit_many(world(), cfgs, train, progress=stop_after(29), checkpoint=path, checkpoint_every=7)
    started: list[int] = []
    resumed = fit_many(world(), cfgs, train, progress=lambda done, _: started.append(done), checkpoint=path)
    assert started[0] == 29  # the checkpoint of step 28
    again = fit_many(world(), cfgs, train, checkpoint=path)  # done already
    for one, two, three in zip(whole, resumed, again, strict=True):
        assert same(one.sae, two.sae)
        assert same(one.sae, three.sae)
        assert [{**r, "tokens_per_s": 0} for r in one.curves] == [{**r, "tokens_per_s": 0} for r in two.curves]
        assert one.metrics == two.metrics == three.metrics


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.safetensors"
    fit(world(), CFG, SHORT, checkpoint=path)
    for x, cfg, train in (
        (world(seed=1), CFG, SHORT),
        (world(), replace(CFG, k=3), SHORT),
        (world(), CFG, replace(SHORT, lr=1e-3)),
    ):
        with pytest.raises(SAEError, match="other settings or other activations"):
            fit(x, cfg, train, checkpoint=path)
    with pytest.raises(SAEError, match="kernels = sparse, not dense"):
        fit(world(), CFG, replace(SHORT, kernels="dense"), checkpoint=path)
    assert fit(world(), CFG, replace(SHORT, kernels="auto"), checkpoint=path).kernels == "sparse"
    path.write_bytes(b"broken")
    with pytest.raises(SAEError, match="not a readable checkpoint"):
        fit(world(), CFG, SHORT, checkpoint=path)
    with pytest.raises(SAEError, match="checkpoint_every"):
        fit(world(), CFG, SHORT, checkpoint=path, checkpoint_every=0)


@pytest.mark.parametrize("kernels", ["plain", "dense", "sparse"])
def test_weights_that_are_not_finite_are_noticed(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = initial_sae(world(), CFG, SHORT)
    with torch.no_grad():
        start.W_enc[5] = float("nan")
    monkeypatch.setattr("ard.train.initial_sae", lambda *_: start)
    with pytest.raises(SAEError, match="lower lr"):
        fit(world(), CFG, replace(SHORT, kernels=kernels))


def test_no_latent_above_zero_trains_without_harm() -> None:
    sae = TopKSAE(replace(CFG, recipe="paper"))
    with torch.no_grad():
        sae.b_enc.fill_(-100.0)
    step = CompiledStep(sae, SHORT.resolve(sae.cfg, 100), Moments.zeros(sae), sparse=True)
    outcome = step(world()[:20], torch.empty(0, dtype=torch.long), 1e-3, 1)
    assert int(outcome.per_latent.sum()) == 0
    assert float(outcome.loss) == pytest.approx(float(world()[:20].square().sum(1).mean()), rel=1e-5)


def test_density_histogram_by_hand() -> None:
    counts = torch.tensor([0, 1, 4, 5, 100, 100])
    bins = [one for one in density_histogram(counts, 100) if one.latents]
    assert bins[0] == DensityBin(0.0, 0.0, 1)
    assert [one.latents for one in bins] == [1, 1, 2, 2]  # .01 | .04 and .05 above 10^-1.5 | 1
    assert bins[1].high == pytest.approx(0.01)
    assert bins[-1].high == 1.0


def test_active_latents_by_hand() -> None:
    values, ids = torch.tensor([1.0, 2.0, 9.0, 3.0]), torch.tensor([2, 0, 7, 1]).int()
    active = Active(values, ids, torch.tensor([0, 2]).int(), torch.tensor([2, 0]).int())
    assert active.dense(3).tolist() == [[2, 0, 1], [0, 0, 0]]
    active = Active(values, ids, torch.tensor([3, 0]).int(), torch.tensor([1, 2]).int())
    assert active.dense(3).tolist() == [[0, 3, 0], [2, 0, 1]]
