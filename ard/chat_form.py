"""How a chat model is told the form of its answer, and how a JSON object is read out of what it says."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

ANSWERED, MALFORMED, UNANSWERED = "answered", "malformed", "unanswered"
"""How asking can end: a usable answer, none among the replies, no reply."""
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)


class MalformedAnswerError(ValueError):
    """An answer that cannot be used; the message says why, in words that the model itself can act on."""


class Form(BaseModel):
    """A JSON object that a chat model answers with."""

    model_config = ConfigDict(strict=True, extra="ignore", json_schema_extra={"additionalProperties": False})


F = TypeVar("F", bound=Form)


def schema_of(form: type[Form]) -> dict[str, Any]:
    """JSON schema of an answer, for endpoints that constrain the model to it."""
    schema = form.model_json_schema()
    return {key: schema[key] for key in ("type", "properties", "required", "additionalProperties")}


def again(reason: str) -> str:
    """The message after an unusable answer."""
    return f"That answer cannot be used: {reason}. Answer again, with the JSON object alone."


def read_form(form: type[F], text: str, *, cut: bool = False) -> F:
    """The form in a reply: its first JSON object, which thoughts, a code fence or words may surround.

    Args:
        form: what is expected.
        text: the reply.
        cut: the reply ended at the longest allowed length.

    Raises:
        MalformedAnswerError: no such object, or another form.
    """
    content = _object(text, cut)
    try:
        return form.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedAnswerError(f"{where or 'the object'}: {first['msg'].lower()}") from None


def _object(text: str, cut: bool) -> Any:
    rest = _THOUGHTS.sub(" ", text).strip()
    if not rest:
        raise MalformedAnswerError("the answer is empty")
    start = rest.find("{")
    try:
        return json.JSONDecoder().raw_decode(rest[start:])[0] if start >= 0 else None
    except (json.JSONDecodeError, RecursionError):
        why = "it was cut off, answer more briefly" if cut else "it is not valid JSON"
        raise MalformedAnswerError(why) from None
