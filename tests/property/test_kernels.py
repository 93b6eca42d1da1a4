"""Every kernel against the dense float64 reference, on sizes, k, ties, rows with few positives and zeros at random."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ard.kernels import cpu, dense, reference
from ard.kernels.active import Active
from ard.kernels.state import AdamStep, Extra, Gradients, Weights

CUDA = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def backends() -> list[Any]:
    """The CPU kernels, and the Triton kernels where a GPU or Triton's interpreter can run them."""
    try:
        import triton  # noqa: F401
    except ImportError:
        why = "triton is not installed (it comes with torch for CUDA)"
        return [cpu, pytest.param(None, marks=pytest.mark.skip(reason=why), id="cuda")]
    if not (CUDA or INTERPRETED):
        why = "there is no GPU; set TRITON_INTERPRET=1 to run the Triton kernels in its interpreter"
        return [cpu, pytest.param(None, marks=pytest.mark.skip(reason=why), id="cuda")]
    from ard.kernels import cuda

    return [cpu, cuda]


pytestmark = pytest.mark.parametrize("ops", backends(), ids=lambda ops: ops.__name__.rpartition(".")[2])


def on(ops: ModuleType, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    device = "cuda" if CUDA and ops is not cpu else "cpu"
    return tuple(t.to(device) for t in tensors)


@st.composite
def pre_activations(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Pre-activations, their bias, k: random, with ties, with few or no positives."""
    tokens, latents = draw(st.integers(1, 9)), draw(st.integers(1, 90))
    k = draw(st.integers(1, latents))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    pre = torch.randn(tokens, latents, generator=generator)
    kind = draw(st.sampled_from(["random", "ties", "few", "zero", "infinite"]))
    if kind == "ties":
        pre = (2 * pre).round() / 2
    elif kind == "few":
        pre = pre - 2
    elif kind == "zero":
        pre = torch.zeros_like(pre)
    elif kind == "infinite":
        pre[0, 0] = torch.inf
    bias = torch.zeros(latents) if draw(st.booleans()) else (4 * torch.randn(latents, generator=generator)).round() / 8
    return pre, bias, k


@given(pre_activations(), st.booleans())
def test_topk_is_that_of_a_stable_sort(
    ops: ModuleType, case: tuple[torch.Tensor, torch.Tensor, int], low: bool
) -> None:
    (pre, bias), k = on(ops, *case[:2]), case[2]
    pre = pre.bfloat16() if low else pre
    active = ops.select(pre, bias, k)
    wanted = reference.topk(pre.float() + bias, k)
    assert torch.equal(active.dense(pre.shape[1]), wanted)
    assert active.count.tolist() == (wanted > 0).sum(1).tolist()


@given(pre_activations(), st.booleans())
def test_batch_topk_is_that_of_a_stable_sort(
    ops: ModuleType, case: tuple[torch.Tensor, torch.Tensor, int], low: bool
) -> None:
    (pre, bias), k = on(ops, *case[:2]), case[2]
    pre = pre.bfloat16() if low else pre
    active = ops.select_batch(pre, bias, k)
    wanted = reference.batch_topk(pre.float() + bias, k)
    assert torch.equal(active.dense(pre.shape[1]), wanted)
    assert int(active.count.sum()) <= k * len(pre)


def test_topk_by_hand(ops: ModuleType) -> None:
    pre, bias = on(ops, torch.tensor([[1.0, 3.0, 3.0, 3.0], [-1.0, 0.0, 2.0, -5.0]]), torch.zeros(4))
    assert ops.select(pre, bias, 2).dense(4).tolist() == [[0, 3, 3, 0], [0, 0, 2, 0]]
    assert ops.select_batch(pre, bias, 2).dense(4).tolist() == [[0, 3, 3, 3], [0, 0, 2, 0]]
    assert ops.select_batch(pre, bias, 1).dense(4).tolist() == [[0, 3, 3, 0], [0, 0, 0, 0]]


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    """Inputs of one step: sizes, k, prefixes; some latents never chosen."""
    tokens, width, latents = draw(st.integers(1, 12)), draw(st.integers(1, 20)), draw(st.integers(2, 60))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    cut = draw(st.integers(1, latents - 1))
    return {
        "target": normal(tokens, width),
        "w_enc": normal(latents, width) / width**0.5,
        "b_enc": normal(latents) - draw(st.sampled_from([0.0, 3.0])),
        "w_dec": torch.nn.functional.normalize(normal(latents, width), dim=1),
        "b_dec": normal(width) / 3,
        "k": draw(st.integers(1, latents)),
        "prefixes": draw(st.sampled_from([(latents,), (cut, latents)])),
        "over_batch": draw(st.booleans()),
    }


def selected(ops: ModuleType, case: dict[str, Any]) -> tuple[torch.Tensor, Active]:
    centred = case["target"] - case["b_dec"]
    choose = ops.select_batch if case["over_batch"] else ops.select
    return centred, choose((centred @ case["w_enc"].T).contiguous(), case["b_enc"], case["k"])


def run_step(
    ops: ModuleType, case: dict[str, Any], dense_products: bool
) -> tuple[torch.Tensor, Gradients, torch.Tensor]:
    """Reconstructions, gradients and that of b_dec, put together as a step does."""
    target, w_dec = case["target"], case["w_dec"]
    centred, active = selected(ops, case)
    prefixes, latents = np.array(case["prefixes"]), len(w_dec)
    products = dense.Dense(active, latents, torch.float32) if dense_products else ops.Sparse(active, latents)
    x_hat = target.new_empty(len(prefixes), *target.shape)
    products.decode(w_dec, case["b_dec"], prefixes, x_hat)
    g = (2 / len(target)) * (x_hat - target)
    g = g.flip(0).cumsum(0).flip(0).contiguous()
    into = Gradients(torch.zeros_like(w_dec), torch.zeros_like(w_dec), torch.zeros_like(case["b_enc"]))
    products.gradients(g, centred, prefixes, w_dec, into, unit=False)
    assert torch.equal(products.per_latent(), (active.dense(latents) > 0).sum(0))
    return x_hat, into, g[0].sum(0) - into.b_enc @ case["w_enc"]


def close(got: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Equal to float32's precision, in proportion to the largest entry."""
    scale = float(wanted.abs().max()) + 1e-3
    return float((got.double() - wanted).abs().max()) <= 2e-5 * scale


@given(steps(), st.booleans())
def test_decode_and_gradients_are_those_of_float64(ops: ModuleType, case: dict[str, Any], dense_products: bool) -> None:
    names = ("target", "w_enc", "b_enc", "w_dec", "b_dec")
    case = {**case, **dict(zip(names, on(ops, *(case[n] for n in names)), strict=True))}
    # The reference gets the latents that float32 chose: near-ties at the k-th place are no error of a product.
    _, active = selected(ops, case)
    wanted = reference.step(**case, chosen=active.dense(len(case["w_dec"])) > 0)
    x_hat, gradients, of_b_dec = run_step(ops, case, dense_products)
    assert close(x_hat, wanted.x_hat)
    for got, want in zip((*gradients, of_b_dec), (*wanted.gradients, wanted.b_dec), strict=True):
        assert close(got, want)


def random_state(
    seed: int, latents: int, width: int, unit: bool, low: bool
) -> tuple[Weights, tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randn(latents, width, generator=generator) for _ in range(2)]
    rows[1] = torch.nn.functional.normalize(rows[1], dim=1)
    bias = torch.randn(latents, generator=generator)
    shapes = [(latents, width)] * 4 + [(latents,)] * 2
    moments = tuple(torch.rand(shape, generator=generator) for shape in shapes)
    return Weights(*rows, bias, unit, rows[0].bfloat16() if low else None), moments


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 20), st.booleans(), st.booleans())
def test_update_is_adam_then_unit_rows(
    ops: ModuleType, seed: int, latents: int, width: int, unit: bool, low: bool
) -> None:
    weights, moments = random_state(seed, latents, width, unit, low)
    generator = torch.Generator().manual_seed(seed + 1)
    grad = Gradients(*(torch.randn(w.shape, generator=generator) for w in weights.rows))
    wanted = []
    for i, (w, g) in enumerate(zip(weights.rows, grad, strict=True)):
        m = 0.9 * moments[2 * i].double() + 0.1 * 0.5 * g.double()
        v = 0.999 * moments[2 * i + 1].double() + 0.001 * (0.5 * g.double()) ** 2
        new = w.double() - 1e-2 * (m / (1 - 0.9**3)) / ((v / (1 - 0.999**3)).sqrt() + 1e-8)
        wanted.append(torch.nn.functional.normalize(new, dim=1) if unit and i == 1 else new)
    weights = weights._replace(**dict(zip(Weights._fields[:3], on(ops, *weights.rows), strict=True)))
    if weights.low is not None:
        weights = weights._replace(low=on(ops, weights.low)[0])
    ops.update(weights, on(ops, *moments), Gradients(*on(ops, *grad)), 0.5, AdamStep.at(3, 1e-2))
    for got, want in zip(weights.rows, wanted, strict=True):
        assert close(got.cpu(), want)
    if weights.low is not None:
        assert torch.allclose(weights.low.float(), weights.W_enc, rtol=2**-7, atol=0)
        if ops is cpu:  # Triton's interpreter cuts off where hardware rounds to the nearest
            assert torch.equal(weights.low, weights.W_enc.bfloat16())


@given(steps(), st.booleans(), st.integers(1, 4))
def test_one_pass_equals_gradients_then_update(ops: ModuleType, case: dict[str, Any], unit: bool, threads: int) -> None:
    if ops is not cpu:
        pytest.skip("only the CPU kernels go from gradients to the update in one pass")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        latents, width = case["w_dec"].shape
        centred, active = selected(ops, case)
        products, prefixes = cpu.Sparse(active, latents), np.array(case["prefixes"])
        g = torch.randn(len(prefixes), *case["target"].shape, generator=torch.Generator().manual_seed(0))
        ids = torch.tensor([0, latents - 1])
        extra = Extra(ids, Gradients(torch.ones(2, width), torch.full((2, width), 0.5), torch.ones(2)))
        results = []
        for fused in (True, False):
            weights, moments = random_state(1, latents, width, unit, low=True)
            if fused:
                through = products.gradients_and_update(
                    g, centred, prefixes, weights, moments, extra, AdamStep.at(1, 0.1)
                )
            else:
                into = Gradients(*(torch.zeros_like(w) for w in weights.rows))
                for whole, part in zip(into, extra.gradients, strict=True):
                    whole[ids] = part
                products.gradients(g, centred, prefixes, weights.W_dec, into, unit)
                through = into.b_enc @ weights.W_enc
                ops.update(weights, moments, into, 1.0, AdamStep.at(1, 0.1))
            results.append((*weights.rows, weights.low, *moments, through))
        for one, other in zip(*results, strict=True):
            assert torch.allclose(one.float(), other.float(), rtol=1e-4, atol=1e-4)
    finally:
        torch.set_num_threads(before)


@given(steps())
def test_threads_do_not_change_a_bit(ops: ModuleType, case: dict[str, Any]) -> None:
    if ops is not cpu:
        pytest.skip("a GPU's programs own their rows")
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            x_hat, gradients, _ = run_step(ops, case, dense_products=False)
            found.append((x_hat, *gradients))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
