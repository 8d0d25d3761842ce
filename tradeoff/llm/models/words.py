"""Tokenizers for whoever reads words and runs no model; that of the built-in model is there at once.

Importing PyTorch and Transformers takes seconds, which whoever brings one letter would wait for. The built-in
model's tokenizer is known byte by byte, and its file is read by the library that Transformers itself reads it
with. What other tokenizers make of their files is left to Transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tradeoff.llm.models.builtin import BUILTIN, BUILTIN_NAME, ModelUnavailableError, builtin_target_folder

__all__ = ["BuiltinWords", "load_words"]


class BuiltinWords:
    """The built-in model's tokenizer, with the part of the interface of Transformers' that words need.

    Args:
        tokenizer: `tokenizers.Tokenizer` of the model's tokenizer.json.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        # As Transformers sets them, whatever the file says.
        tokenizer.no_padding()
        tokenizer.no_truncation()

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def __call__(
        self, words: Sequence[str], *, add_special_tokens: bool = False, verbose: bool = False
    ) -> dict[str, list[list[int]]]:
        """{"input_ids": the tokens of every text}; `verbose` is ignored, as nothing is said.

        Raises:
            ValueError: for a single text, which would be taken for its letters.
        """
        if isinstance(words, str):
            raise ValueError("words are one text; pass a list of texts")
        found = self._tokenizer.encode_batch(list(words), add_special_tokens=add_special_tokens)
        return {"input_ids": [one.ids for one in found]}

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The words that tokens spell."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def convert_ids_to_tokens(self, index: int) -> str | None:
        """How the vocabulary writes a token; None if it has no such token."""
        token: str | None = self._tokenizer.id_to_token(index)
        return token

    def get_vocab(self) -> dict[str, int]:
        """The number of every token."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return vocabulary


def load_words(spec: str | Path = BUILTIN, *, progress: bool = True) -> Any:
    """A tokenizer that splits and spells words: as `load_tokenizer`, and sooner for "builtin".

    Args:
        spec: "builtin", a folder, a .gguf file, a tokenizer.json or a Hugging Face id.
        progress: whether to show what is loaded.

    Raises:
        ModelUnavailableError: if it is not there or cannot be read.
        ModuleNotFoundError: without the packages of the extra `llm`.
    """
    if spec != BUILTIN:
        from tradeoff.llm.models.loading import load_tokenizer

        return load_tokenizer(spec, progress=progress)
    from tokenizers import Tokenizer

    file = builtin_target_folder(progress=progress, weights=False) / "tokenizer.json"
    try:
        return BuiltinWords(Tokenizer.from_file(str(file)))
    except Exception as error:  # the parser raises bare Exceptions
        raise ModelUnavailableError(
            f"the tokenizer of {BUILTIN_NAME} in {str(file)!r} cannot be read ({error}); delete that "
            "folder, and it is made again"
        ) from error
