from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ard.hooks import HookContext, read, replace
from ard.sinks import find_sinks
from tests.fixtures.models import hooks_left, tiny_lm, tone


class Doubling(nn.Module):
    """A layer whose answer is known by hand; `wrap` makes it a tuple as older transformers did."""

    def __init__(self, wrap: bool) -> None:
        super().__init__()
        self.wrap = wrap
        self.calls = 0

    def forward(self, x: Tensor, past_key_values: object = None) -> Tensor | tuple[Tensor, str]:
        self.calls += 1
        return (2 * x, "cache") if self.wrap else 2 * x


class Stack:
    def __init__(self, wrap: bool, layers: int = 3) -> None:
        self.layers = [Doubling(wrap) for _ in range(layers)]

    def layer(self, layer: int) -> nn.Module:
        return self.layers[layer]

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            out = layer(x)
            x = out[0] if isinstance(out, tuple) else out
        return x


@pytest.mark.parametrize("wrap", [False, True])
def test_reads_tensor_and_tuple_outputs(wrap: bool) -> None:
    stack = Stack(wrap)
    with read(stack, [0, 2]) as got:
        stack(torch.ones(1, 2, 3))
    assert set(got) == {0, 2}
    assert got[0].eq(2).all()
    assert got[2].eq(8).all()


@pytest.mark.parametrize("wrap", [False, True])
def test_replaces_tensor_and_tuple_outputs(wrap: bool) -> None:
    stack = Stack(wrap)
    with replace(stack, 1, lambda x, context: x + 1):
        assert stack(torch.ones(1, 2, 3)).eq(2 * (4 + 1)).all()
        if wrap:
            assert stack.layers[1](torch.ones(1, 1, 1))[1] == "cache"
    assert stack(torch.ones(1, 2, 3)).eq(8).all()


def test_stop_runs_no_later_layer() -> None:
    stack = Stack(False)
    with read(stack, [0, 1], stop=True) as got:
        stack(torch.ones(1, 1, 1))
        pytest.fail("the pass should have stopped")
    assert set(got) == {0, 1}
    assert [layer.calls for layer in stack.layers] == [1, 1, 0]


def test_a_reader_opened_later_sees_the_replacement() -> None:
    stack = Stack(False)
    with replace(stack, 0, lambda x, context: x * 0), read(stack, [0]) as got:
        stack(torch.ones(1, 1, 1))
    assert got[0].eq(0).all()


def test_replacement_keeps_the_models_precision() -> None:
    stack = Stack(False)
    with replace(stack, 0, lambda x, context: x.double()):
        assert stack(torch.ones(1, 1, 1, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_wrong_shape_is_one_clear_error_and_hooks_go() -> None:
    stack = Stack(False)
    with pytest.raises(ValueError, match=r"layers\.0 has shape \(1, 1\)"), replace(stack, 0, lambda x, context: x[0]):
        stack(torch.ones(1, 1, 1))
    assert not stack.layers[0]._forward_hooks


def test_unknown_output_is_refused() -> None:
    stack = Stack(False)
    stack.layers[0] = nn.Identity()
    with pytest.raises(TypeError, match="dict"), read(stack, [0]):
        stack.layers[0]({"x": 1})


def test_no_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="No layer"), read(Stack(False), []):
        pass


def test_context_counts_cached_tokens_while_generating() -> None:
    lm = tiny_lm()
    inputs = lm.prepare([tone(1.0), tone(0.5)], ["What?", "What sound is this?"])
    hooks = hooks_left(lm)
    seen: list[HookContext] = []

    def note(x: Tensor, context: HookContext) -> Tensor:
        seen.append(context)
        return x

    with replace(lm, 2, note):
        lm.model.generate(**inputs.tensors, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert seen == [
        HookContext(2, 0, inputs.length),
        HookContext(2, inputs.length, 1),
        HookContext(2, inputs.length + 1, 1),
    ]
    assert hooks_left(lm) == hooks


def test_hooks_go_after_an_error_in_the_block() -> None:
    lm = tiny_lm()
    before = hooks_left(lm)
    during = []

    def fail() -> None:
        with read(lm, [0, 1]), replace(lm, 1, lambda x, context: x):
            during.append(hooks_left(lm))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (during, hooks_left(lm)) == ([before + 3], before)


def test_sinks_stand_out_of_their_own_clip() -> None:
    x = torch.ones(2, 6, 4)
    x[0, 2] = 100.0  # 100 times its clip's median
    x[1] *= 50.0  # loud all over: no sink
    x[1, 0] = 1e6  # padding: not looked at
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 0] = False
    found = find_sinks(x, mask, factor=10)
    assert found.nonzero().tolist() == [[0, 2]]
    assert find_sinks(x[0], factor=10).nonzero().tolist() == [[2]]
    assert not find_sinks(x, mask, factor=101).any()


def test_sinks_of_a_clip_without_tokens_are_none() -> None:
    assert not find_sinks(torch.ones(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool)).any()


def test_sinks_refuse_a_wrong_mask_and_factor() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        find_sinks(torch.ones(3, 2), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"factor is 1\.0"):
        find_sinks(torch.ones(3, 2), factor=1.0)
