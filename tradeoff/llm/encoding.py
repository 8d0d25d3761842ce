"""Prompts as token ids, plain or in the chat format of a tokenizer."""

from __future__ import annotations

from tradeoff.llm.models.huggingface import (
    PreTrainedTokenizerBase,
    control_tokens,
    has_chat_format,
    render_chat,
)
from tradeoff.texts import Prompt

__all__ = ["chat_prompt", "encode_prompts", "plain_prompt"]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: list[tuple[str, str]], *, chat: bool = False
) -> list[Prompt]:
    """Token ids of (id, prompt) pairs.

    Args:
        tokenizer: of the model pair.
        prompts: as from `read_prompts`.
        chat: ask in the tokenizer's chat format instead of continuing the plain words.

    Raises:
        ValueError: for `chat` with a tokenizer that has no chat format, and as `chat_prompt`.
    """
    if chat and not has_chat_format(tokenizer):
        raise ValueError("chat=True, but this tokenizer has no chat format; leave --chat out")
    encoded = []
    for name, text in prompts:
        ids: list[int] = chat_prompt(tokenizer, text, name) if chat else plain_prompt(tokenizer, text)
        encoded.append(Prompt(name, text, tuple(ids)))
    return encoded


def plain_prompt(tokenizer: PreTrainedTokenizerBase, words: str) -> list[int]:
    """Token ids of words as they are. What a chat template has rendered begins with the token of beginnings,
    and does not get another one."""
    ids: list[int] = list(tokenizer(words)["input_ids"])
    beginning = tokenizer.bos_token_id
    twice = beginning is not None and ids[:2] == [beginning, beginning]
    return ids[1:] if twice and words.startswith(tokenizer.bos_token) else ids


def chat_prompt(tokenizer: PreTrainedTokenizerBase, question: str, name: str) -> list[int]:
    """Token ids that ask `question` in the tokenizer's chat format, up to where an answer begins.

    A tokenizer without a chat format gets the plain question.

    Args:
        tokenizer: of the model pair.
        question: the words of the user.
        name: id of the prompt, for errors.

    Raises:
        ValueError: for a question that the format does not take, and for one that holds a control token,
            which could end the user's turn and begin another.
    """
    try:
        rendered = render_chat(tokenizer, question)
    except ValueError as error:
        raise ValueError(
            f"prompt {name!r} is not taken by the chat format of this tokenizer ({error}); change it, or run "
            "without --chat"
        ) from error
    if rendered is None:
        return plain_prompt(tokenizer, question)
    piece = _control_piece(tokenizer, question)
    if piece is not None:
        raise ValueError(
            f"prompt {name!r} holds {piece!r}, a control token of this tokenizer; leave it out, or run "
            "without --chat"
        )
    # The chat format writes the special tokens itself; the tokenizer must not add them a second time.
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def _control_piece(tokenizer: PreTrainedTokenizerBase, words: str) -> str | None:
    """A control token that the words spell out, or are encoded as; None if there is none."""
    control = control_tokens(tokenizer)
    spelled = (text for text in control.values() if text and text in words)
    # What the tokenizer has no token for is encoded as an unknown one, and forges nothing.
    encoded = (
        control[token]
        for token in tokenizer(words, add_special_tokens=False)["input_ids"]
        if token in control and token != tokenizer.unk_token_id
    )
    return next(spelled, None) or next(encoded, None)
