"""Read or replace the residual stream at one hookpoint: `layers.<l>`, the output of decoder layer l.

Ours: `layers[l]` counts from 0, so the activation read at layer l is `hidden_states[l + 1]` of transformers (for the
last layer: before the final norm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple, Protocol

from jaxtyping import Float
from torch import Tensor, nn


class HookedModel(Protocol):
    """What hooks need of a model."""

    def layer(self, layer: int) -> nn.Module:
        """Decoder layer `layer`, counted from 0."""
        ...


class HookContext(NamedTuple):
    """Where in the sequence one call of a layer stands."""

    layer: int
    past: int
    """Tokens already in the key-value cache: the first position of this call."""
    length: int
    """Tokens in this call."""


ReplaceFn = Callable[[Float[Tensor, "B L d"], HookContext], Float[Tensor, "B L d"]]


class HookRead(dict[int, Tensor]):
    """Layer number → activations [B, L, d] of the latest call, in the model's own precision."""


class _StopForwardError(Exception):
    """Ends a forward pass once the last asked layer has been read."""


def residual_of(output: Any) -> Float[Tensor, "B L d"]:
    """The residual stream in a layer's output: the Tensor itself, or the first entry of a tuple.

    Raises:
        TypeError: the output is neither.
    """
    x = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(x, Tensor):
        raise TypeError(f"A decoder layer returned {type(output).__name__}, not a Tensor or a tuple led by one.")
    return x


def _past_tokens(layer: int, length: int, kwargs: dict[str, Any]) -> int:
    """Cache length before this call; the layer has already appended its own `length` tokens when its hook runs."""
    cache = kwargs.get("past_key_values")
    return 0 if cache is None else max(int(cache.get_seq_length(layer)) - length, 0)


@contextmanager
def read(lm: HookedModel, layers: Sequence[int], *, stop: bool = False) -> Iterator[HookRead]:
    """Collect the outputs of `layers` while the block runs.

    With `stop=True` the forward pass ends right after the highest of the layers and control leaves the block there:
    no later layer and no LM head is computed. Hooks are removed however the block ends.

    Raises:
        ValueError: no layer asked for, or one the model lacks.
    """
    if not layers:
        raise ValueError("No layer was asked for; name at least one, such as layers=[3].")
    got, last = HookRead(), max(layers)

    def make(layer: int) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            got[layer] = residual_of(output).detach()
            if stop and layer == last:
                raise _StopForwardError

        return hook

    with ExitStack() as stack:
        for layer in sorted(set(layers)):
            handle = lm.layer(layer).register_forward_hook(make(layer))
            stack.callback(handle.remove)
        with suppress(_StopForwardError):
            yield got


@contextmanager
def replace(lm: HookedModel, layer: int, fn: ReplaceFn) -> Iterator[None]:
    """Replace the output x of `layer` by `fn(x, context)` [B, L, d] while the block runs; later layers see the result.

    The result is cast to x's precision; a tuple output keeps its other entries. The hook is removed however the block
    ends.

    Raises:
        ValueError: the model lacks `layer`, or (inside the block) `fn` returns another shape.
    """

    def hook(_module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        x = residual_of(output)
        new = fn(x, HookContext(layer, _past_tokens(layer, x.shape[1], kwargs), x.shape[1]))
        if new.shape != x.shape:
            raise ValueError(f"The replacement at layers.{layer} has shape {tuple(new.shape)}, not {tuple(x.shape)}.")
        new = new.to(device=x.device, dtype=x.dtype)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = lm.layer(layer).register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
