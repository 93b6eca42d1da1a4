"""Adapters to the models the method looks into: the AudioLLM (`audio_lm`) and CLAP (`clap`).

Importing this package switches transformers' log lines and progress bars off: consoles show what we say, and
whatever would have been a warning there is an error with one clear sentence here.
"""

from __future__ import annotations

from transformers.utils import logging as _transformers_logging

_transformers_logging.set_verbosity_error()
_transformers_logging.disable_progress_bar()
