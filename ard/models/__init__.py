"""Adapters to the models the method looks into: the AudioLLM (`audio_lm`) and CLAP (`clap`).

Importing this package switches the log lines and progress bars of transformers and of the hub's client off: consoles
show what we say, and whatever would have been a warning there is an error with one clear sentence here.
"""

from __future__ import annotations

from huggingface_hub.utils import logging as _hub_logging
from transformers.utils import logging as _transformers_logging

_hub_logging.set_verbosity_error()
_transformers_logging.set_verbosity_error()
_transformers_logging.disable_progress_bar()
