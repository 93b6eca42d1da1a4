"""One implementation of a training step in a process of its own, driven line by line by `bench_train_step.py`.

`python train_step_worker.py NAME SETUP.npz` says "ready", then for each line with a number n on its standard input
takes n steps and answers with a JSON line {"ms": […], "loss": […]}. Every implementation starts from the same weights
and sees the same batches in the same order; the loss is E‖x − x̂‖² of the batch before the update.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

Step = Callable[[torch.Tensor], float]


class Setup:
    """Sizes, batches and first weights, the same for all."""

    def __init__(self, path: str) -> None:
        with np.load(path) as file:
            self.x = torch.from_numpy(file["x"])
            self.w = torch.from_numpy(file["w"])  # unit rows: first W_dec and W_enc
            self.k, self.batch, self.lr = int(file["k"]), int(file["batch"]), float(file["lr"])
        self.d_sae, self.d_in = self.w.shape

    def batches(self):
        """Whole batches of x, again and again."""
        while True:
            yield from self.x.split(self.batch)


def ours(setup: Setup, compute: str) -> Step:
    """This project's step, the curves' sums included."""
    from ard.sae import SAEConfig, TopKSAE
    from ard.train_config import TrainConfig
    from ard.train_run import SAERun

    cfg = SAEConfig("layers.0", setup.d_in, setup.d_sae / setup.d_in, setup.k, "recommended")
    sae = TopKSAE(cfg)
    sae.W_enc.data.copy_(setup.w)
    sae.W_dec.data.copy_(setup.w)
    train = TrainConfig(
        steps=10**6, batch=setup.batch, lr=setup.lr, warmup=0, decay=0, auxk_coef=0.0, log_every=1,
        compute=compute, kernels="sparse",
    ).resolve(cfg, len(setup.x))  # fmt: skip
    run, done = SAERun(sae, train, setup.x.double().mean(0)), iter(range(1, 10**6))
    return lambda x: run.step(x, next(done))["loss"]


def reference(setup: Setup, unit: bool, clip: float | None) -> Step:
    """The same mathematics in plain float32 autograd; `unit` and `clip` as the implementation it is compared with."""
    w_enc, w_dec = (setup.w.clone().requires_grad_() for _ in range(2))
    b_enc, b_dec = (torch.zeros(n, requires_grad=True) for n in setup.w.shape)
    weights = [w_enc, w_dec, b_enc, b_dec]
    adam = torch.optim.Adam(weights, lr=setup.lr, fused=True)

    def step(x: torch.Tensor) -> float:
        pre = F.linear(x - b_dec, w_enc, b_enc).relu()
        top = pre.topk(setup.k)
        z = torch.zeros_like(pre).scatter(1, top.indices, top.values)
        loss = (z @ w_dec + b_dec - x).square().sum(1).mean()
        adam.zero_grad()
        loss.backward()
        if unit:
            w_dec.grad -= (w_dec.grad * w_dec.data).sum(1, keepdim=True) * w_dec.data
        if clip:
            torch.nn.utils.clip_grad_norm_(weights, clip)
        adam.step()
        if unit:
            w_dec.data = F.normalize(w_dec.data, dim=1)
        return loss.item()

    return step


def sparsify(setup: Setup) -> Step:
    """eai-sparsify's SparseCoder with the calls of its Trainer around a step."""
    from sparsify import SparseCoder, SparseCoderConfig

    cfg = SparseCoderConfig(num_latents=setup.d_sae, k=setup.k, activation="topk", normalize_decoder=True)
    coder = SparseCoder(setup.d_in, cfg)
    coder.encoder.weight.data.copy_(setup.w)
    coder.W_dec.data.copy_(setup.w)
    adam = torch.optim.Adam(coder.parameters(), lr=setup.lr, fused=True)

    def step(x: torch.Tensor) -> float:
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x)
        out.fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        adam.step()
        adam.zero_grad()
        return float(out.fvu.detach() * (x - x.mean(0)).square().sum() / len(x))

    return step


def dictionary_learning(setup: Setup) -> Step:
    """dictionary_learning's TopKTrainer.update, with torch's fused Adam in place of its plain one."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=10**6, activation_dim=setup.d_in, dict_size=setup.d_sae, k=setup.k, layer=0, lm_name="none", lr=setup.lr,
        auxk_alpha=0.0, warmup_steps=0, threshold_start_step=10**6, device="cpu",
    )  # fmt: skip
    trainer.ae.encoder.weight.data = setup.w.clone()
    trainer.ae.decoder.weight.data = setup.w.T.clone()
    trainer.optimizer = torch.optim.Adam(trainer.ae.parameters(), lr=setup.lr, betas=(0.9, 0.999), fused=True)
    return lambda x: trainer.update(1, x)  # step 0 would move b_dec to the data's median


def sae_lens(setup: Setup, autocast: bool) -> Step:
    """SAELens' SAETrainer.step on its TopKTrainingSAE, with torch's fused Adam in place of its plain one."""
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    sae = TopKTrainingSAE(
        TopKTrainingSAEConfig(
            d_in=setup.d_in, d_sae=setup.d_sae, k=setup.k, aux_loss_coefficient=0.0, rescale_acts_by_decoder_norm=False,
            apply_b_dec_to_input=True, dtype="float32", device="cpu",
        )
    )  # fmt: skip
    for name, weight in (("W_enc", setup.w.T), ("W_dec", setup.w), ("b_enc", 0), ("b_dec", 0)):
        parameter = getattr(sae, name)
        parameter.data = (torch.zeros_like(parameter) + weight).contiguous()
    cfg = SAETrainerConfig(
        total_training_samples=10**9, train_batch_size_samples=setup.batch, lr=setup.lr, lr_end=setup.lr,
        autocast=autocast, logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    trainer = SAETrainer(cfg=cfg, sae=sae, data_provider=iter(()))
    trainer.optimizer = torch.optim.Adam(sae.parameters(), lr=setup.lr, fused=True)

    def step(x: torch.Tensor) -> float:
        loss = float(trainer.step(x).losses["mse_loss"])
        trainer.n_training_steps += 1
        return loss

    return step


def in_bfloat16(step: Step) -> Step:
    """The same under autocast."""

    def under(x: torch.Tensor) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            return step(x)

    return under


def matmul(setup: Setup) -> Step:
    """The bare float32 product of a batch with the encoder."""
    out, w = torch.empty(setup.batch, setup.d_sae), setup.w.T
    return lambda x: float(torch.mm(x, w, out=out)[0, 0])


IMPLEMENTATIONS: dict[str, Callable[[Setup], Step]] = {
    "ours float32": lambda s: ours(s, "float32"),
    "ours bfloat16": lambda s: ours(s, "bfloat16"),
    "encoder matmul float32": matmul,
    "reference": lambda s: reference(s, True, None),
    "reference clipped": lambda s: reference(s, True, 1.0),
    "reference clipped, free norms": lambda s: reference(s, False, 1.0),
    "eai-sparsify float32": sparsify,
    "eai-sparsify bfloat16": lambda s: in_bfloat16(sparsify(s)),
    "dictionary_learning float32": dictionary_learning,
    "dictionary_learning bfloat16": lambda s: in_bfloat16(dictionary_learning(s)),
    "sae-lens float32": lambda s: sae_lens(s, False),
    "sae-lens bfloat16": lambda s: sae_lens(s, True),
}


def main(name: str, path: str) -> None:
    setup = Setup(path)
    step, batches = IMPLEMENTATIONS[name](setup), setup.batches()
    print("ready", flush=True)
    for line in sys.stdin:
        ms, losses = [], []
        for _ in range(int(line)):
            x = next(batches)
            began = time.perf_counter()
            losses.append(step(x))
            ms.append((time.perf_counter() - began) * 1e3)
        print(json.dumps({"ms": ms, "loss": losses}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
