"""JSON that other programs write: where in it the texts are.

| shape | from |
|---|---|
| `text`, `token_ids` | `tradeoff generate` |
| `choices` with `message.content` or `text`, perhaps `token_ids` | OpenAI's completions, vLLM's server |
| `outputs` with `text` and `token_ids` | vLLM's `RequestOutput` |
| `output` with messages | OpenAI's responses |
| any of these under `response.body`, named by `custom_id` | files of batches: OpenAI's, vLLM's `run-batch` |
| `generated_text`, `completion`, `output`, `prediction` | pipelines of Transformers, data sets |
| a list of integers | token ids |
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tradeoff.errors import FileError

__all__ = ["FIELDS", "records_of"]

#: Names of the one text of an object, beside `text`.
FIELDS = ("generated_text", "completion", "output", "prediction")
_OWN = ("text", "token_ids")


def records_of(value: Any, place: str, field: str | None = None) -> Iterator[dict[str, Any]]:
    """The texts of a JSON value as objects with `text` or `token_ids`; none if it has no text.

    Args:
        value: of a line, or an item of a list.
        place: its name, for messages.
        field: of the text, as the caller names it; dots lead into objects.

    Raises:
        FileError: if it has more than one text in fields that all may be meant.
    """
    if isinstance(value, list):
        if value and all(type(one) is int for one in value):
            yield {"token_ids": value}
        else:
            for one in value:
                if isinstance(one, dict):
                    yield from records_of(one, place, field)
    elif isinstance(value, dict):
        yield from _of_object(value, place, field)


def _of_object(value: dict[str, Any], place: str, field: str | None) -> Iterator[dict[str, Any]]:
    if field is not None:
        found = _at(value, field)
        if found is not None:
            yield _kept(value) | _as_text(found)
    elif any(value.get(name) is not None for name in _OWN):
        yield value
    elif isinstance(value.get("choices"), list):
        yield from _of_several(value, [_of_choice(choice) for choice in value["choices"]])
    elif isinstance(value.get("outputs"), list):
        yield from _of_several(value, [_own(output) for output in value["outputs"]])
    elif _is_response(value):
        yield from _of_several(value, [_of_message(item) for item in value["output"]])
    elif isinstance(body := _at(value, "response.body"), dict):
        named = value.get("custom_id")
        yield from _of_object(body if named is None else body | {"id": named}, place, None)
    else:
        named = [name for name in FIELDS if isinstance(value.get(name), str | list)]
        if len(named) > 1:
            raise FileError(f"{place} has texts in {' and '.join(named)}; name the one to read with --field")
        if named:
            yield _kept(value) | _as_text(value[named[0]])


def _of_several(value: dict[str, Any], parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of one answer, numbered behind its own name where there are several."""
    name = value.get("id", value.get("request_id"))
    found = [part for part in parts if part]
    for number, part in enumerate(found):
        told = name if name is None or len(found) == 1 else f"{name}/{number}"
        yield part if told is None else {"id": told} | part


def _of_choice(choice: Any) -> dict[str, Any]:
    if not isinstance(choice, dict):
        return {}
    return _of_message(choice.get("message")) | _own(choice)


def _is_response(value: dict[str, Any]) -> bool:
    """Whether `output` holds what a model did, message by message, and no text."""
    items = value.get("output")
    return isinstance(items, list) and any(isinstance(item, dict) for item in items)


def _of_message(message: Any) -> dict[str, Any]:
    """The words of a message; none of what is none, such as a call of a tool or what a model thought."""
    if not isinstance(message, dict) or message.get("type", "message") != "message":
        return {}
    content = message.get("content")
    if isinstance(content, list):
        # Parts, of which those that are words have a text.
        words = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(word for word in words if isinstance(word, str))
    return {} if content is None else {"text": content}


def _own(value: Any) -> dict[str, Any]:
    return {name: value[name] for name in _OWN if isinstance(value, dict) and value.get(name) is not None}


def _kept(value: dict[str, Any]) -> dict[str, Any]:
    """What names the text."""
    return {"id": value["id"]} if value.get("id") is not None else {}


def _as_text(found: Any) -> dict[str, Any]:
    return {"token_ids": found} if isinstance(found, list) else {"text": found}


def _at(value: Any, field: str) -> Any:
    """What stands under a name, or under names with dots between them."""
    if isinstance(value, dict) and field in value:
        return value[field]
    name, _, rest = field.partition(".")
    return _at(value.get(name), rest) if rest and isinstance(value, dict) else None
