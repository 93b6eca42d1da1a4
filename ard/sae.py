"""TopK sparse autoencoder over the residual stream of an audio language model (AR&D, arXiv 2602.22253, Eq. 1).

The paper, for an activation x of d_in values (output of one decoder layer) and d_sae = expansion * d_in:

    z  = TopK(W_enc x + b_enc)                W_enc [d_sae, d_in]   b_enc [d_sae]
    x̂  = W_dec z                              loss ‖x − x̂‖²         no decoder bias

Two recipes, and two variants of the second:

    paper          z = TopK(ReLU(W_enc x + b_enc)),                    x̂ = z W_dec
    recommended    z = TopK(ReLU(W_enc (s x − b_dec) + b_enc)),        x̂ = (z W_dec + b_dec) / s
    batchtopk      as recommended, but trained with the k · batch largest of a whole batch, and used with one
                   threshold θ: z = a where a = W_enc (s x − b_dec) + b_enc > θ, else 0 (Bussmann et al. 2024,
                   arXiv 2412.06410). θ is the smallest latent above 0 of a training batch, averaged over the last
                   ten or so batches, and lies in cfg.json (`extra.threshold`). A token then has k latents on
                   average, not at most k; before training there is no θ, and z = TopK.
    matryoshka     as recommended, trained so that nested prefixes of the dictionary reconstruct x too: the sum of
                   their losses (Bussmann et al. 2025, arXiv 2503.17547); `extra.prefixes`

Ours, where the paper is silent or where memory order matters:
- `W_dec` is stored with one **row** per latent, [d_sae, d_in], so x̂ = z @ W_dec; it is the transpose of the paper's.
- ReLU comes before TopK. It changes nothing whenever at least k pre-activations are positive.
- Encoding subtracts b_dec where there is one, so a latent reads deviations from the bias, which decoding adds back.
- s (`scale`) makes E‖s x‖ = sqrt(d_in). Latents, and so steering values, are in these scaled units.
- Among equal pre-activations at the k-th place the lowest latent_id wins, on every device.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ard.sae_config import CONFIG_FILE, WEIGHTS_FILE, Recipe, SAEConfig, SAEError, config_text, read_config

__all__ = ["Recipe", "SAEConfig", "SAEError", "SAEOutput", "TopKSAE", "topk_relu"]


class SAEOutput(NamedTuple):
    """Reconstruction x̂ [..., d_in] in the units of x, and latents z [..., d_sae]."""

    x_hat: Tensor
    z: Tensor


def topk_relu(pre: Float[Tensor, "*tokens d_sae"], k: int) -> Float[Tensor, "*tokens d_sae"]:
    """TopK and ReLU, z = TopK(ReLU(pre)): the k largest positive values of each row, zero elsewhere (Eq. 1).

    Never more than k values survive: where several equal the k-th, those with the lowest latent_id stay.
    A row with a NaN keeps it.
    """
    if k >= pre.shape[-1]:
        return torch.relu(pre)
    top = torch.topk(pre.detach(), k + 1, dim=-1).values
    kth = top[..., k - 1 : k].clamp_min(0)
    drop = pre < kth
    tied = (top[..., k] == top[..., k - 1]) & (top[..., k] > 0)
    if bool(tied.any()):
        drop[tied] = _beyond_k(pre.detach()[tied], kth[tied], k)
    return torch.where(drop, pre.new_zeros(()), pre)


def _beyond_k(pre: Tensor, kth: Tensor, k: int) -> Tensor:
    """Mask [rows, d_sae] of what to drop where several values equal the k-th; equal values stay from the left on."""
    above, equal = pre > kth, pre == kth
    room = k - above.sum(-1, keepdim=True)
    return ~(above | (equal & (equal.cumsum(-1) <= room)))


class TopKSAE(nn.Module):
    """TopK sparse autoencoder; equations in the module's first lines.

    Shapes: W_enc [d_sae, d_in], b_enc [d_sae], W_dec [d_sae, d_in] (a row per latent: x̂ = z @ W_dec, the transpose of
    Eq. 1's), b_dec [d_in] in the scaled units, or None for `paper`.
    """

    def __init__(self, cfg: SAEConfig, *, init_weights: bool = True) -> None:
        """Weights drawn from `cfg.seed`; with `init_weights=False` they are left unset, for loading.

        Ours: `paper` starts as torch's linear layers do, U(±1/sqrt(fan_in)), encoder and decoder apart; the others
        with unit decoder rows, W_enc equal to W_dec, and zero biases (training then moves b_dec to the data's centre).
        """
        super().__init__()
        self.cfg = cfg
        self.W_enc = nn.Parameter(torch.empty(cfg.d_sae, cfg.d_in))
        self.b_enc = nn.Parameter(torch.empty(cfg.d_sae))
        self.W_dec = nn.Parameter(torch.empty(cfg.d_sae, cfg.d_in))
        self.b_dec = nn.Parameter(torch.zeros(cfg.d_in)) if cfg.recipe != "paper" else None
        if init_weights:
            self._init_weights(torch.Generator().manual_seed(cfg.seed))

    @torch.no_grad()
    def _init_weights(self, generator: torch.Generator) -> None:
        if self.cfg.recipe == "paper":
            enc, dec = 1 / math.sqrt(self.cfg.d_in), 1 / math.sqrt(self.cfg.d_sae)
            self.W_enc.uniform_(-enc, enc, generator=generator)
            self.b_enc.uniform_(-enc, enc, generator=generator)
            self.W_dec.uniform_(-dec, dec, generator=generator)
            return
        self.W_dec.normal_(generator=generator)
        self.W_dec.copy_(F.normalize(self.W_dec, dim=-1))
        self.W_enc.copy_(self.W_dec)
        self.b_enc.zero_()

    def pre_activations(self, x: Float[Tensor, "*tokens d_in"]) -> Float[Tensor, "*tokens d_sae"]:
        """W_enc (s x − b_dec) + b_enc, before ReLU and TopK; without s and b_dec for `paper` (Eq. 1).

        x may be of any floating type; it is converted to the weights' type.

        Raises:
            SAEError: the last dimension of x is not d_in.
        """
        if x.shape[-1] != self.cfg.d_in:
            self.check_fits(x.shape[-1])
        centred = self._scaled(x)
        if self.b_dec is not None:
            centred = centred - self.b_dec
        return F.linear(centred, self.W_enc, self.b_enc)

    def topk(self, pre: Float[Tensor, "*tokens d_sae"]) -> Float[Tensor, "*tokens d_sae"]:
        """Latents z = TopK(ReLU(pre)), dense, at most k non-zero values a token (Eq. 1).

        A trained `batchtopk` SAE: every pre-activation above its threshold θ, k of them on average. NaN stays.
        """
        theta = self.cfg.threshold
        if theta is not None:
            return torch.where(pre <= theta, pre.new_zeros(()), pre)
        return topk_relu(pre, self.cfg.k)

    def encode(self, x: Float[Tensor, "*tokens d_in"]) -> Float[Tensor, "*tokens d_sae"]:
        """Latents z = TopK(ReLU(W_enc (s x − b_dec) + b_enc)), dense (Eq. 1)."""
        return self.topk(self.pre_activations(x))

    def decode(self, z: Float[Tensor, "*tokens d_sae"]) -> Float[Tensor, "*tokens d_in"]:
        """x̂ = (z W_dec + b_dec) / s in the units of x; without s and b_dec for `paper` (Eq. 1)."""
        return self.decode_scaled(z) / self.cfg.scale

    def decode_scaled(self, z: Float[Tensor, "*tokens d_sae"]) -> Float[Tensor, "*tokens d_in"]:
        """Scaled s x̂ = z W_dec + b_dec, the reconstruction in the units that training sees."""
        x_hat = z @ self.W_dec
        return x_hat if self.b_dec is None else x_hat + self.b_dec

    def forward(self, x: Float[Tensor, "*tokens d_in"]) -> SAEOutput:
        """Encode and decode x; x̂ is in the units of x and in the weights' floating type."""
        z = self.encode(x)
        return SAEOutput(self.decode(z), z)

    def _scaled(self, x: Tensor) -> Tensor:
        x = x.to(self.W_enc.dtype)
        return x if self.cfg.scale == 1.0 else x * self.cfg.scale

    def check_fits(self, d_in: int, hookpoint: str | None = None) -> None:
        """Refuse a model of another width or another hookpoint.

        Raises:
            SAEError: `d_in` or `hookpoint` differs from what this SAE was trained on.
        """
        if d_in != self.cfg.d_in:
            raise SAEError(
                f"The activations have {d_in} values a token, but SAE {self.cfg.sae_id} was trained on {self.cfg.d_in};"
                " use the model it was trained on, or train an SAE for this one."
            )
        if hookpoint is not None and hookpoint != self.cfg.hookpoint:
            raise SAEError(
                f"The activations come from {hookpoint}, but SAE {self.cfg.sae_id} was trained on {self.cfg.hookpoint};"
                f" read {self.cfg.hookpoint}, or choose an SAE of {hookpoint}."
            )

    def save(self, folder: Path) -> None:
        """Write `cfg.json` and `sae.safetensors` to `folder`, each by a temporary file and a rename.

        The weights carry a copy of the configuration, so a pair left half replaced by a crash is refused on load.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = config_text(self.cfg)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        with _replacing(folder / WEIGHTS_FILE) as temporary:
            save_file(weights, temporary, metadata={"cfg": text})
        with _replacing(folder / CONFIG_FILE) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> TopKSAE:
        """The SAE saved in `folder`, in float32.

        Raises:
            SAEError: a file or field is missing, unknown or of the wrong type or shape, or the two files do not belong
                together.
        """
        folder = Path(folder)
        cfg, text = read_config(folder / CONFIG_FILE)
        sae = cls(cfg, init_weights=False)
        weights = _read_weights(folder / WEIGHTS_FILE, {k: tuple(v.shape) for k, v in sae.state_dict().items()}, text)
        sae.load_state_dict(weights)
        return sae.to(device).eval()


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, flushed to disk and renamed over it on success, removed on failure."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _read_weights(path: Path, shapes: dict[str, tuple[int, ...]], cfg_text: str) -> dict[str, Tensor]:
    """Tensors in `path`, checked by name, shape and floating type, converted to float32."""
    if not path.is_file():
        raise SAEError(f"{path} is missing; copy it beside {CONFIG_FILE} or train the SAE again.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise SAEError(f"{path} is not a readable safetensors file ({error}); train the SAE again.") from error
    if set(weights) != set(shapes):
        raise SAEError(
            f"{path} holds {', '.join(sorted(weights))}, but {CONFIG_FILE} asks for {', '.join(sorted(shapes))};"
            " the two files do not belong together, so copy or train them again."
        )
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise SAEError(
                f"{path}: {name} has shape {list(weights[name].shape)}, but {CONFIG_FILE} asks for {list(shape)};"
                " the two files do not belong together, so copy or train them again."
            )
        if not weights[name].is_floating_point():
            raise SAEError(f"{path}: {name} is of type {weights[name].dtype}; it must be a floating type.")
    # A file of another writer has no copy of the configuration: then names and shapes are the whole check.
    if json.loads(metadata.get("cfg", cfg_text)) != json.loads(cfg_text):
        raise SAEError(f"{path} was saved with another {CONFIG_FILE} than the one beside it; train the SAE again.")
    return {name: value.float() for name, value in weights.items()}
