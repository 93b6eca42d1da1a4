"""What a stage is, and what it gets to work with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile as sf
from tqdm import tqdm

from ard.staging import Staging
from ard.store import Run
from precompute.config import Config
from precompute.config_names import JudgeConfig, NamerConfig
from precompute.environment import model_source

if TYPE_CHECKING:
    from torch import Tensor

    from ard.models.audio_lm import AudioLM
    from ard.models.clap import AnyClap
    from ard.models.llm import ChatModel
    from precompute.live import LiveClips

T = TypeVar("T")
TRAIN = "train"
"""The split that trains SAEs and is the probing set; every other split is held out."""


class StageError(ValueError):
    """A stage that cannot do its work on this data; the message says why and what to change."""


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline: what it reads, what it writes, what makes it run again."""

    name: str
    run: Callable[[Context], None]
    """Does the work. Declared in `precompute/stages/__init__.py` so that it is imported only when called."""
    version: int
    """Raised by hand whenever the stage's result changes."""
    needs: tuple[str, ...] = ()
    """Stages whose tables it reads."""
    reads_if_there: tuple[str, ...] = ()
    """Stages whose tables it also reads where they have run."""
    published: tuple[str, ...] = ()
    """Tables it reads where the app has published them."""
    uses: Callable[[Config], Any] = lambda _: None
    """The part of the configuration it depends on."""
    models: tuple[str, ...] = ()
    """Models it runs: `audio_lm`, `clap`, `captioner`, `namer`, `judge`."""
    tables: tuple[str, ...] = ()
    """Tables it writes."""
    folders: tuple[str, ...] = ()
    """Folders it writes."""
    files: tuple[str, ...] = ()
    """Other files it writes, at the top of the run folder."""
    resumable: bool = False
    """Goes on with the parts that an interrupted process finished (ard/resumable.py)."""
    listing: Callable[[Config], str] = lambda _: ""
    """Hash of the outside files it reads; empty if none."""


@dataclass
class Models:
    """The models of a run, loaded once, when first asked for."""

    config: Config
    _loaded: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """`cpu`, `cuda` or `cuda:N`."""
        wanted = self.config.model.device
        if wanted == "cpu":
            return wanted
        import torch

        found = torch.cuda.device_count()
        if wanted == "auto":
            return "cuda" if found else "cpu"
        if wanted not in (*(["cuda"] if found else []), *(f"cuda:{i}" for i in range(found))):
            raise StageError(f"Device {wanted!r} is not there; use auto or cpu ({found} CUDA devices were found).")
        return wanted

    @property
    def audio_lm(self) -> AudioLM:
        """The AudioLLM."""
        if "audio_lm" not in self._loaded:
            self._loaded["audio_lm"] = self._load_audio_lm(self.config.model.audio_lm)
        return self._loaded["audio_lm"]

    def _load_audio_lm(self, path_or_id: str) -> AudioLM:
        from ard.models.audio_lm import AudioLM
        from ard.models.common import named_dtype

        how = self.config.model
        return AudioLM.load(
            model_source(path_or_id),
            self.device,
            named_dtype(how.dtype),
            quantisation=how.quantisation,
            device_map=how.device_map,
            batch=self.config.activations.batch,
        )

    @property
    def captioner(self) -> AudioLM:
        """The AudioLLM that writes captions; another one than the run's takes its place in memory."""
        if self.config.model_of("captioner") == self.config.model.audio_lm:
            return self.audio_lm
        if "captioner" not in self._loaded:
            self.release("audio_lm")
            self._loaded["captioner"] = self._load_audio_lm(self.config.model_of("captioner"))
        return self._loaded["captioner"]

    @property
    def namer(self) -> ChatModel:
        """The chat model that names; asked for only where one is configured."""
        from ard.naming_answer import answer_schema

        return self._chat("namer", self.config.names.namer, "names.namer", answer_schema)

    @property
    def judge(self) -> ChatModel:
        """The chat model that reads steered answers; asked for only where one is configured."""
        from ard.steering_judge import verdict_schema

        return self._chat("judge", self.config.steering.judge, "steering.judge", verdict_schema)

    def _chat(
        self, role: str, chat: NamerConfig | JudgeConfig, section: str, schema: Callable[[], dict[str, Any]]
    ) -> ChatModel:
        if role not in self._loaded:
            from precompute.naming import chat_model

            if self.config.model_of(role):
                self.release("audio_lm", "captioner", "namer", "judge")
            self._loaded[role] = chat_model(chat, self.device, section, schema())
        return self._loaded[role]

    def release(self, *names: str) -> None:
        """Let go of models that are not needed for now; they are loaded again when asked for."""
        gone = [name for name in names if self._loaded.pop(name, None) is not None]
        if gone and self.device != "cpu":
            import torch

            torch.cuda.empty_cache()

    @property
    def clap(self) -> AnyClap:
        """The embedding model."""
        if "clap" not in self._loaded:
            from ard.models.clap import load_clap

            self._loaded["clap"] = load_clap(model_source(self.config.model.clap), device=self.device)
        return self._loaded["clap"]


@dataclass
class Context:
    """What a running stage gets."""

    run: Run
    config: Config
    out: Staging
    models: Models
    quiet: bool = False
    notes: dict[str, Any] = field(default_factory=dict)
    """Top-level entries for the manifest."""
    _live: LiveClips | None = None

    def say(self, text: str) -> None:
        """A line for the person at the console, unless `--quiet`."""
        if not self.quiet:
            tqdm.write(f"  {text}")

    def progress(self, items: Iterable[T], total: int | None = None, unit: str = "clip") -> Iterator[T]:
        """The items, with a progress bar while they are worked through."""
        bar = tqdm(items, total=total, unit=f" {unit}", leave=False, disable=self.quiet, dynamic_ncols=True)
        yield from bar

    def counter(self, unit: str) -> tqdm:
        """A bar that counts what comes, from any thread, without knowing how much there will be."""
        return tqdm(unit=f" {unit}", leave=False, disable=self.quiet, dynamic_ncols=True)

    def ok_clips(self, split: str | None = None) -> pa.Table:
        """Usable clips in the order of their ids: all, or those of one split."""
        clips = self.run.read("clips")
        keep = pc.equal(clips["status"], "ok")
        if split is not None:
            keep = pc.and_(keep, pc.equal(clips["split"], split))
        return clips.filter(keep).sort_by("clip_id")

    def held_out_clips(self) -> pa.Table:
        """Usable clips of every split but `train`."""
        clips = self.ok_clips()
        return clips.filter(pc.not_equal(clips["split"], TRAIN))

    def load_audio(self, names: Iterable[str]) -> list[np.ndarray]:
        """Mono float32 samples of the run's own copies, at the AudioLLM's rate."""
        return [sf.read(self.run.audio_dir / name, dtype="float32")[0] for name in names]

    def read_live(self, hookpoint: str, clip_ids: Sequence[str]) -> Tensor:
        """Activations [tokens, d] of clips, computed now; for a run that does not store them."""
        if self._live is None:
            from precompute.live import LiveClips

            self._live = LiveClips(self.run, lambda: self.models.audio_lm, self.load_audio)
        return self._live.read(hookpoint, clip_ids)

    def sae_ids(self) -> list[str]:
        """Ids of the run's SAEs, the default one first."""
        ids = self.run.read("saes")["sae_id"].to_pylist()
        default = self.run.manifest.get("default_sae")
        return sorted(ids, key=lambda i: (i != default, i))


def batched(items: list[T], size: int) -> Iterator[list[T]]:
    """Consecutive lists of `size` items, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
