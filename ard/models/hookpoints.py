"""Names of the places where an AudioLLM is read and steered: `layers.<l>`, the output of decoder layer l."""

from __future__ import annotations

from typing import Any

from torch import nn


class Hookpoints:
    """The decoder layers of a model with `get_decoder`, by number and by name."""

    model: Any
    name: str
    n_layers: int

    def hookpoint(self, layer: int) -> str:
        """`layers.<l>` of an existing layer.

        Raises:
            ValueError: no such layer.
        """
        self._check_layer(layer)
        return f"layers.{layer}"

    def layer_of(self, hookpoint: str) -> int:
        """The layer number in `layers.<l>`.

        Raises:
            ValueError: another form, or no such layer.
        """
        kind, _, number = hookpoint.partition(".")
        if kind != "layers" or not number.isdecimal():
            raise ValueError(f"Hookpoint {hookpoint!r} is not 'layers.<l>' with l from 0 to {self.n_layers - 1}.")
        self._check_layer(int(number))
        return int(number)

    def layer(self, layer: int) -> nn.Module:
        """Decoder layer `layer`, counted from 0.

        Raises:
            ValueError: no such layer.
        """
        self._check_layer(layer)
        return self.model.get_decoder().layers[layer]

    def _check_layer(self, layer: int) -> None:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < self.n_layers:
            raise ValueError(f"Layer {layer!r} does not exist in {self.name}; it has layers 0 to {self.n_layers - 1}.")
