"""From words to tokens and back, with the tokenizer of the model that wrote them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tradeoff.display import INSTALL_LLM
from tradeoff.errors import FileError
from tradeoff.keyed import KeyFile
from tradeoff.texts import Normalised, Text, normalised
from tradeoff.verdicts.spelling import PART, Speller

__all__ = ["Digested", "Form", "Tokens", "digest_of", "vocabulary_hash"]

#: Characters that are kept of the piece before.
_LONGEST_WORD = 100
#: Characters tokenised at a time.
_BLOCK = 1 << 20
#: How many logits more or fewer than tokens a model may have, to be the tokenizer's own for all one knows.
_PADDING = 1024


@dataclass(frozen=True)
class Form:
    """One way to read a text as tokens.

    Attributes:
        ids: [n] tokens.
        length: of the words, in characters; None if there are none.
        tokenised: whether the tokens were made of the words here.
        normal: what was changed in the words before; None if they were read as they are.
        digest: SHA-256 of the words as they were given, in UTF-8, 64 hex digits; None if tokens were given,
            or the words were not read to their end.
    """

    ids: np.ndarray
    length: int | None
    tokenised: bool = False
    normal: Normalised | None = None
    digest: str | None = None

    def characters(self, words: Sequence[str], start: int, end: int) -> tuple[int, int] | None:
        """Where tokens from `start` up to `end` stand in the text as it was given, in characters; None where
        there are no words, or these tokens do not spell them letter by letter.

        Args:
            words: [n] the tokens, spelled.
            start, end: tokens.
        """
        if self.length is None:
            return None
        lengths = [0 if word == PART else len(word) for word in words]
        if sum(lengths) != self.length:
            return None
        first = sum(lengths[:start])
        last = first + sum(lengths[start:end])
        return (first, last) if self.normal is None else self.normal.original(first, last)


class Digested:
    """Words in pieces, hashed while they are read, which is once unless they are a list.

    Args:
        pieces: the words.

    Attributes:
        digest: `digest_of` them; None until they have been read to their end.
        arriving: whether they come from elsewhere while they are read, and have not ended.
    """

    def __init__(self, pieces: Iterable[str]):
        self._pieces = pieces
        self.arriving = not isinstance(pieces, list | tuple)
        self.digest = None if self.arriving else digest_of(pieces)

    def __iter__(self) -> Iterator[str]:
        digest = hashlib.sha256()
        for piece in self._pieces:
            digest.update(_bytes(piece))
            yield piece
        self.digest, self.arriving = digest.hexdigest(), False


class Tokens:
    """A tokenizer, loaded when it is first needed.

    Args:
        name: builtin, a folder, a tokenizer.json or a Hugging Face id.
        keys: whose profiles it must fit.
    """

    def __init__(self, name: str, keys: Iterable[KeyFile] = ()):
        self.name, self._keys = name, tuple(keys)

    def __len__(self) -> int:
        return len(self._tokenizer)

    @property
    def why_not(self) -> str:
        """Why it cannot be had; empty if it can."""
        return self._tokenizer_or_why[1]

    def forms(self, text: Text) -> list[Form]:
        """A text's words as they are, and, where that differs, without what editors and web pages put there.

        Raises:
            FileError: if there is no tokenizer.
        """
        if text.pieces is None:
            raise FileError(f'{text.place} has no "text" to tokenise; leave retokenize out')
        pieces = list(text.pieces)
        whole = "".join(pieces)
        digest = digest_of(pieces)
        forms = [Form(_joined(self.blocks(pieces)), len(whole), True, None, digest)]
        normal = normalised(whole)
        if normal.changes:
            ids = _joined(self.blocks(_cut(normal.text)))
            forms.append(Form(ids, len(normal.text), True, normal, digest))
        return forms

    def forms_of_all(self, texts: Sequence[Text]) -> list[list[Form]]:
        """`forms` of texts in one piece, tokenised together.

        Raises:
            FileError: if there is no tokenizer.
        """
        words = ["".join(text.pieces or ()) for text in texts]
        normal = [normalised(one) for one in words]
        changed = [one for one in normal if one.changes]
        ids = self._many([*words, *(one.text for one in changed)])
        found = [
            [Form(one, len(word), True, None, digest_of([word]))]
            for one, word in zip(ids, words, strict=False)
        ]
        again = iter(ids[len(words) :])
        for forms, one in zip(found, normal, strict=True):
            if one.changes:
                forms.append(Form(next(again), len(one.text), True, one, forms[0].digest))
        return found

    def blocks(self, pieces: Iterable[str]) -> Iterator[np.ndarray]:
        """The tokens of words that come in pieces, as they come.

        Raises:
            FileError: if there is no tokenizer.
        """
        before = ""
        for piece in pieces:
            # Some tokenizers treat the start of what they are given in a way of their own: the last word of
            # the piece before goes in front, and its tokens are taken off again.
            ids = self._ids(before + piece)
            yield ids[len(self._ids(before)) :] if before else ids
            before = piece[max(piece.rfind(" "), len(piece) - _LONGEST_WORD, 0) :]

    def words(self, ids: np.ndarray) -> list[str]:
        """Every token spelled: [n].

        Raises:
            FileError: if there is no tokenizer.
        """
        return self._speller.words(ids.tolist())

    def is_own(self, text: Text) -> bool:
        """Whether, as far as is known, the tokenizer is that of the model that wrote the text.

        Models often have a few logits more than their tokenizer has tokens, padding, or fewer, where tokens
        were added. Of a text that is there in both forms its own tokens tell.
        """
        told = text.claims.vocabulary
        if told is None or told == len(self):
            return True
        if isinstance(text.pieces, list) and text.token_ids is not None:
            ids, words = list(map(int, text.token_ids)), "".join(text.pieces)
            return any(
                self._tokenizer.decode(ids, skip_special_tokens=skip) == words for skip in (True, False)
            )
        return abs(told - len(self)) <= _PADDING

    def _ids(self, words: str) -> np.ndarray:
        return self._many([words])[0]

    def _many(self, words: list[str]) -> list[np.ndarray]:
        if not words:
            return []
        # Special tokens at the start are no part of what was generated.
        spelled = self._tokenizer(words, add_special_tokens=False, verbose=False)
        return [np.array(ids, dtype=np.int64) for ids in spelled["input_ids"]]

    @property
    def _tokenizer(self) -> Any:
        tokenizer, why = self._tokenizer_or_why
        if tokenizer is None:
            # It is no text's own fault: the same words each time, so that they need be told only once.
            raise FileError(f"words cannot be tokenised: {why}")
        return tokenizer

    @cached_property
    def _tokenizer_or_why(self) -> tuple[Any, str]:
        """(tokenizer, ""), or (None, why there is none): asked for once, as a download takes its time."""
        try:
            # Only texts without token ids, and views, need one.
            from tradeoff.llm import load_words

            tokenizer = load_words(self.name)
        except ModuleNotFoundError as error:
            return None, f"{error}; {INSTALL_LLM}"
        except RuntimeError as error:
            return None, str(error)
        for key in self._keys:
            if key.profile.tokenizer_hash not in (None, vocabulary_hash(tokenizer)):
                meant = key.profile.tokenizer or "the tokenizer of its model"
                return None, (
                    f"tokenizer={self.name!r} has another vocabulary than the profile of key "
                    f"{key.name or key.fingerprint} says; pass {meant} with --tokenizer"
                )
        return tokenizer, ""

    @cached_property
    def vocabulary(self) -> str | None:
        """Its `vocabulary_hash`; None if it cannot be had."""
        tokenizer, _ = self._tokenizer_or_why
        return None if tokenizer is None else vocabulary_hash(tokenizer)

    @cached_property
    def _speller(self) -> Speller:
        return Speller(self._tokenizer)


def digest_of(pieces: Iterable[str]) -> str:
    """SHA-256 of words that come in pieces, in UTF-8: 64 hex digits."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(_bytes(piece))
    return digest.hexdigest()


def _bytes(words: str) -> bytes:
    # JSON may hold halves of characters.
    return words.encode("utf-8", "surrogatepass")


def vocabulary_hash(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's vocabulary, 64 hex digits: of its tokens with their numbers, in order."""
    tokens = sorted((number, token) for token, number in tokenizer.get_vocab().items())
    return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()


def _cut(words: str) -> Iterator[str]:
    """In pieces that take a tokenizer little memory, each from a blank on."""
    start = 0
    while len(words) - start > _BLOCK:
        end = words.rfind(" ", start + 1, start + _BLOCK)
        end = end if end > 0 else start + _BLOCK
        yield words[start:end]
        start = end
    if words:
        yield words[start:]


def _joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    parts = list(blocks)
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype=np.int64), *parts])
