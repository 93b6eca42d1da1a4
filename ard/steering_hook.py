"""The hook that steers: which positions of a running model are clamped, which reconstructed, which left alone."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ard.clamp_rows import EachRow, apply_each
from ard.clamps import Change, Clamp, DiffOfMeans, PolyClamp, SteeringError, apply_clamp, check_change, poly_clamp
from ard.hooks import HookContext, replace
from ard.models.audio_lm import AudioLM
from ard.models.inputs import Inputs
from ard.sae import TopKSAE
from ard.sinks import SINK_FACTOR, find_sinks
from ard.steering_report import SteeringReport


class Steering:
    """Context manager that steers a model while it is open; `report` counts what it did.

    Forward passes and `generate` inside the block must use the same `inputs`.
    """

    def __init__(
        self,
        lm: AudioLM,
        sae: TopKSAE | None,
        change: Change | EachRow,
        inputs: Inputs,
        *,
        hookpoint: str | None = None,
        exclude: Bool[Tensor, "B L"] | None = None,
        sink_factor: float | None = SINK_FACTOR,
    ) -> None:
        if isinstance(change, EachRow):
            change.check(lm.d_model, sae)
        else:
            check_change(change, lm.d_model, sae)
        if hookpoint is None and sae is None:
            raise SteeringError("Without an SAE the hookpoint is unknown; give hookpoint='layers.<l>'.")
        if isinstance(change, EachRow) and len(change.clamps) != inputs.batch:
            raise SteeringError(f"{len(change.clamps)} clamps were given for {inputs.batch} rows; give one for each.")
        if sae is not None and isinstance(_kind(change), Clamp):
            sae.check_fits(lm.d_model, hookpoint)
        where = hookpoint or (sae.cfg.hookpoint if sae is not None else "")
        self._lm, self._layer = lm, lm.layer_of(where)
        self._sae, self._change, self._inputs = sae, change, inputs
        self._sink_factor = sink_factor
        self._real = inputs.audio | inputs.prompt
        chosen = {"audio": inputs.audio, "prompt": inputs.prompt, "all": self._real}[change.positions]
        excluded = torch.zeros_like(chosen) if exclude is None else exclude.to(chosen.device)
        if excluded.shape != chosen.shape:
            raise SteeringError(f"exclude has shape {tuple(excluded.shape)}; these inputs need {tuple(chosen.shape)}.")
        self._excluded = excluded
        self._prefill = chosen & ~self._excluded
        self._open = ExitStack()
        self.report = SteeringReport()

    def __enter__(self) -> Steering:
        self.report = SteeringReport(vanished=[0] * self._clamped_count())
        self._open.enter_context(replace(self._lm, self._layer, self._replace))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _clamped_count(self) -> int:
        kind = _kind(self._change)
        return len(kind.latents) if isinstance(kind, Clamp) else 0

    @torch.no_grad()
    def _replace(self, x: Float[Tensor, "B L d"], context: HookContext) -> Float[Tensor, "B L d"]:
        prefill, decoded, sinks = self._masks(x, context)
        out = x.clone()
        if bool(prefill.any()):
            before = x[prefill]
            after, survived = self._clamped(before, prefill)
            out[prefill] = after.to(device=x.device, dtype=x.dtype)
            self._count(before.float(), out[prefill].float(), survived, sinks)
        if self._change.decoding != "off" and bool(decoded.any()):
            clamp = self._change.decoding == "clamp"
            new = self._clamped(x[decoded], decoded)[0] if clamp else self._reconstructed(x[decoded])
            out[decoded] = new.to(device=x.device, dtype=x.dtype)
        return out

    def _masks(self, x: Tensor, context: HookContext) -> tuple[Tensor, Tensor, int]:
        """Which of this call's positions [B, L] are steered as prefill, which as decoded, and how many sinks it met.

        Positions are told apart by where they stand: those of `inputs` by their role there, any later one is decoded.
        """
        inputs = self._inputs
        if x.shape[0] != inputs.batch:
            raise SteeringError(
                f"The model runs {x.shape[0]} rows but steering was set up for {inputs.batch}; "
                "use one Steering per batch and no beam search."
            )
        known = min(max(inputs.length - context.past, 0), context.length)
        here, later = slice(context.past, context.past + known), (0, context.length - known)
        prefill, met = self._prefill[:, here], 0
        if self._sink_factor is not None and known:
            sinks = find_sinks(x[:, :known], self._real[:, here], factor=self._sink_factor)
            met = int((prefill & sinks).sum())
            prefill = prefill & ~sinks
        answered = (inputs.answer & ~self._excluded)[:, here]
        return F.pad(prefill, later, value=False), F.pad(answered, later, value=True), met

    def _clamped(self, x: Float[Tensor, "N d"], where: Bool[Tensor, "B L"]) -> tuple[Tensor, Bool[Tensor, "N n"]]:
        """What replaces x, the N positions `where`; and which clamped latents TopK kept."""
        change, none = self._change, torch.ones(len(x), 0, dtype=torch.bool)
        if isinstance(change, EachRow):
            on = x.device if self._sae is None else self._sae.W_enc.device
            return apply_each(x.to(on), where.nonzero()[:, 0].to(on), change, self._sae)
        if isinstance(change, PolyClamp):
            return poly_clamp(x, change.dims, change.values), none
        if isinstance(change, DiffOfMeans):
            return x.float() + change.alpha * change.vector.to(x.device, torch.float32), none
        sae = self._with_sae()
        steered = apply_clamp(sae, x.to(sae.W_enc.device), change)
        return steered.x_hat, steered.survived

    def _reconstructed(self, x: Float[Tensor, "N d"]) -> Tensor:
        kind = _kind(self._change)
        if not isinstance(kind, Clamp):
            return x
        sae = self._with_sae()
        return apply_clamp(sae, x.to(sae.W_enc.device), kind.without_latents()).x_hat

    def _with_sae(self) -> TopKSAE:
        if self._sae is None:
            raise SteeringError("A Clamp needs an SAE; give one, or use PolyClamp or DiffOfMeans.")
        return self._sae

    def _count(self, before: Tensor, after: Tensor, survived: Bool[Tensor, "N n"], sinks: int) -> None:
        norms = [float(one.norm(dim=-1).double().sum()) for one in (before, after, after - before)]
        self.report.add(SteeringReport(len(before), (~survived).sum(0).tolist(), sinks, *norms))


def _kind(change: Change | EachRow) -> Clamp | PolyClamp | DiffOfMeans:
    """The change itself, or the first of a batch's rows: which of the three it is, with its switches."""
    return change.clamps[0] if isinstance(change, EachRow) else change
