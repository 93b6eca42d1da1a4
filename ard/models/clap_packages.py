"""CLAP checkpoints of two other packages, behind the same interface as `Clap`.

- laion-clap (extra `laion-clap`): LAION's own `.pt` files, HTSAT-tiny without fusion (`630k-audioset-best.pt` and its
  like) or, where the file name says `fusion`, with it. 48 kHz, 10 s.
- msclap (extra `msclap`): Microsoft's CLAP, which the paper cites, version 2023 or, where the name says so, 2022.
  44.1 kHz, 7 s (2023) or 5 s (2022).

Both packages want torchaudio, and msclap wants transformers below 5, so neither imports beside this project's pinned
libraries (docs/models.md); whoever has an environment in which they do can use them. Both take their text encoder's
words (roberta-base, gpt2, bert-base-uncased) from the hub.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ard.model_files import checkpoint_revision
from ard.models.clap_base import AnyClap
from ard.models.common import ModelError


class PackageClap(AnyClap):
    """One checkpoint file of a package; the subclass knows how the package is asked."""

    def __init__(self, inner: Any, file: Path) -> None:
        self.inner, self._file = inner, file
        self.name = file.name

    @cached_property
    def revision(self) -> str:
        """sha256 over the file's name and bytes, 12 hex digits."""
        return checkpoint_revision(self._file)


class LaionClap(PackageClap):
    """laion-clap's `CLAP_Module`. The waveform is rounded to 16 bits, as that package does."""

    sampling_rate, _window, dim, max_text_tokens = 48_000, 480_000, 512, 77

    @classmethod
    def load(cls, file: Path, device: str = "cpu") -> LaionClap:
        """Build the module that fits the file's name and read the file.

        Raises:
            ModelError: the package does not import, or the file is not one of its checkpoints.
        """
        module = _imported("laion_clap", "laion-clap")

        def build() -> Any:
            inner = module.CLAP_Module(enable_fusion="fusion" in file.name, device=device, amodel="HTSAT-tiny")
            inner.load_ckpt(str(file), verbose=False)
            return inner.eval()

        return cls(_built(build, file, "laion-clap"), file)

    def _embed_windows(self, windows: list[np.ndarray]) -> Float[Tensor, "N d"]:
        return torch.as_tensor(self.inner.get_audio_embedding_from_data(windows, use_tensor=False))

    def _embed_texts(self, texts: list[str]) -> Float[Tensor, "N d"]:
        # A lone text makes the package squeeze its batch away.
        asked = texts if len(texts) > 1 else [*texts, *texts]
        return torch.as_tensor(self.inner.get_text_embedding(asked, use_tensor=False))[: len(texts)]


class MsClap(PackageClap):
    """msclap's `CLAPWrapper`. A shorter clip is repeated to the window's length, as that package does."""

    max_text_tokens = 77

    def __init__(self, inner: Any, file: Path) -> None:
        super().__init__(inner, file)
        self.sampling_rate, self.dim = int(inner.args.sampling_rate), int(inner.args.d_proj)
        self._window = round(float(inner.args.duration) * self.sampling_rate)
        self.max_text_tokens = int(inner.args.text_len)

    @classmethod
    def load(cls, file: Path, device: str = "cpu") -> MsClap:
        """Build the wrapper of the version in the file's name and read the file.

        Raises:
            ModelError: the package does not import, or the file is not one of its checkpoints.
        """
        module = _imported("msclap", "msclap")
        version = "2022" if "2022" in file.name else "2023"
        use_cuda = torch.device(device).type == "cuda"
        return cls(_built(lambda: module.CLAP(str(file), version=version, use_cuda=use_cuda), file, "msclap"), file)

    def _embed_windows(self, windows: list[np.ndarray]) -> Float[Tensor, "N d"]:
        # Not by `get_audio_embeddings`: it reads files, and takes a random part of a long one.
        filled = np.stack([np.resize(window, self._window) for window in windows])
        audio = torch.from_numpy(filled)[:, None]
        return self.inner._get_audio_embeddings(audio.cuda() if self.inner.use_cuda else audio)

    def _embed_texts(self, texts: list[str]) -> Float[Tensor, "N d"]:
        # Not by `get_text_embeddings`: it calls `encode_plus`, which transformers 5 no longer has.
        end = " <|endoftext|>" if "gpt" in self.inner.args.text_model else ""
        tokens = self.inner.tokenizer(
            [self._cut(text) + end for text in texts],
            padding="max_length",
            truncation=True,
            max_length=self.max_text_tokens,
            return_tensors="pt",
        )
        asked = {key: tokens[key].cuda() if self.inner.use_cuda else tokens[key] for key in self.inner.token_keys}
        return self.inner._get_text_embeddings(asked)

    def _cut(self, text: str) -> str:
        """The text's first tokens, with room for the end mark that the package puts behind it."""
        tokenizer = self.inner.tokenizer
        room = self.max_text_tokens - 4  # begin and end of the tokenizer's own, <|endoftext|> and its space
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return text if len(ids) <= room else tokenizer.decode(ids[:room])


def load_package(package: str, file: Path, device: str = "cpu") -> PackageClap:
    """A checkpoint file of `laion-clap` or `msclap`.

    Raises:
        ModelError: the package does not import, or the file is not one of its checkpoints.
    """
    return LaionClap.load(file, device) if package == "laion-clap" else MsClap.load(file, device)


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except (ImportError, AttributeError, RuntimeError, OSError) as error:  # torchaudio of another torch raises OSError
        raise ModelError(
            f"The package {package} does not import ({error}); install it with `pip install 'ard-explorer[{package}]'` "
            "where its torchaudio fits torch, or use a transformers CLAP such as laion/clap-htsat-unfused."
        ) from error


def _built(build: Callable[[], Any], file: Path, package: str) -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # both print while they load
            return build()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, EOFError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"{file} does not load as a {package} checkpoint ({first.strip()}); give one of that package's own files, "
            "and let it fetch its text encoder's words from the hub."
        ) from error
