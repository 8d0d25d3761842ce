"""What requests and answers are made of, as the description of the interface tells it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "DetectAnswer",
    "DetectRequest",
    "ErrorAnswer",
    "FileForm",
    "GenerateAnswer",
    "GenerateRequest",
    "Health",
    "KeysAnswer",
    "PieceTold",
]

#: What 64 bits hold.
_MOST_ID = (1 << 63) - 1

Level = Annotated[
    float,
    Field(
        gt=0,
        lt=1,
        description="False-positive rate: for how many of all keys a text is called watermarked whose writer "
        "has seen no text of that key. Left out, that of the server.",
        examples=[0.01],
    ),
]
Parts = Annotated[
    bool,
    Field(
        description="Look for parts that are watermarked (true), or judge texts as a whole. Left out, as the "
        "server was started."
    ),
]
Retokenize = Annotated[bool, Field(description="Tokenise the words even where token ids are given.")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class DetectRequest(_Strict):
    """One text to be judged: its words, its token ids, or both."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": ["text"]}, {"required": ["token_ids"]}],
            "examples": [{"text": "The sea at night was quiet.", "fpr": 0.001}],
        }
    )

    text: Annotated[
        str | None, Field(description="Words of the text. They are tokenised with the server's tokenizer.")
    ] = None
    token_ids: Annotated[
        list[Annotated[int, Field(ge=0, le=_MOST_ID)]] | None,
        Field(
            description="Tokens of the text, if they are known: nothing is lost by tokenising words again."
        ),
    ] = None
    id: Annotated[
        str | int | None, Field(description="Name of the text, which is repeated in the answer.")
    ] = None
    run: Annotated[
        dict[str, Any] | None,
        Field(
            description="What a record of `tradeoff generate` says of the run that wrote the text: method, "
            "watermark, alpha, prf, context_width, key (a fingerprint), vocabulary. It may add a setting to "
            "those that are tested, and takes none away."
        ),
    ] = None
    fpr: Level | None = None
    segments: Parts | None = None
    retokenize: Retokenize | None = None


class FileForm(_Strict):
    """A file to be judged, as a browser or `curl -F` sends it."""

    file: Annotated[
        str,
        Field(
            description="Anything that `tradeoff detect FILE` reads, by the ending of its name: plain text "
            "(.txt, .md, .html and others), JSON lines (.jsonl, .json), tables (.csv, .tsv, .parquet), "
            "documents (.docx, .pdf).",
            json_schema_extra={"format": "binary"},
        ),
    ]
    fpr: Level | None = None
    segments: Parts | None = None
    retokenize: Retokenize | None = None
    field: Annotated[
        str | None,
        Field(description="Field of JSON objects, or column, that has the text, such as data.answer."),
    ] = None


class GenerateRequest(_Strict):
    """A prompt, and how it is to be continued. What is left out is as of `tradeoff generate`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prompt": "The sea at night", "max_tokens": 60, "stream": True}]}
    )

    prompt: Annotated[str, Field(min_length=1, description="Words that the text continues, or answers.")]
    max_tokens: Annotated[
        int | None,
        Field(ge=1, description="Longest text, in tokens. Left out, 200, or as many as the server lets."),
    ] = None
    temperature: Annotated[
        float | None, Field(gt=0, description="Of sampling. Left out, the model's own, else 1.")
    ] = None
    top_k: Annotated[
        int | None, Field(ge=0, le=_MOST_ID, description="Keep the k most probable tokens; 0 keeps all.")
    ] = None
    top_p: Annotated[
        float | None, Field(gt=0, le=1, description="Keep the most probable tokens up to this mass.")
    ] = None
    min_p: Annotated[
        float | None,
        Field(ge=0, le=1, description="Keep tokens at least this times as probable as the first."),
    ] = None
    stop: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        Field(max_length=8, description="The text ends with the token that completes one of these."),
    ] = []
    min_tokens: Annotated[int, Field(ge=0, le=_MOST_ID, description="No end of text before so many.")] = 0
    samples: Annotated[
        int,
        Field(
            ge=1,
            description="Texts of the prompt. Of several the first tokens are drawn without the key, or they "
            "would be one text.",
        ),
    ] = 1
    seed: Annotated[
        int, Field(ge=0, le=_MOST_ID, description="Of what is drawn truly at random, and not by the key.")
    ] = 0
    chat: Annotated[bool, Field(description="Ask in the chat format of the model.")] = False
    stream: Annotated[bool, Field(description="Answer with events, as rounds end.")] = False


class TextWritten(BaseModel):
    """A text with its record, as `tradeoff generate` writes it; /v1/detect takes text, token_ids and run."""

    model_config = ConfigDict(strict=True, extra="allow")

    id: Annotated[str, Field(description="1; of several texts 1#1, 1#2 and so on.")]
    text: str
    token_ids: list[int]
    finish: Annotated[
        Literal["eos", "length", "stop"],
        Field(description="By what it ended: the model, its length, a string."),
    ]
    run: Annotated[dict[str, Any], Field(description="Settings of the run; of the key its fingerprint.")]


class GenerateAnswer(_Strict):
    """The texts of a prompt."""

    results: list[TextWritten]
    warnings: Annotated[list[str], Field(description="What to know of the texts.")]
    notes: Annotated[list[str], Field(description="What the model's own settings and samples came to.")]


class PieceTold(_Strict):
    """What a text got in a round: data of an event without a name. The last event is `end`, with what is
    answered without a stream, or `error`, with what is answered to a request that is refused."""

    sample: Annotated[int, Field(description="Which of several texts, from 0.")]
    text: Annotated[
        str, Field(description="Whole words; of tokens that do not end one, it comes with later ones.")
    ]
    token_ids: list[int]


class Segment(_Strict):
    """A part of a text that is watermarked."""

    start: Annotated[int, Field(description="Its first token, counted from 0.")]
    end: Annotated[int, Field(description="The token behind its last one.")]
    tokens_scored: Annotated[int, Field(description="How many of its tokens count.")]
    log10_p: Annotated[
        float,
        Field(le=0, description="Decimal logarithm of its p-value, corrected for all that was looked at."),
    ]
    characters: Annotated[
        tuple[int, int] | None,
        Field(description="Where it stands in the words; null where tokens do not spell them."),
    ]


class Tested(_Strict):
    """One test of a text."""

    method: str | None
    watermark: str | None
    alpha: float = 0.5
    prf: str
    context_width: int
    key: Annotated[str, Field(description="Fingerprint of the key.")]
    key_name: str
    named_by_record: Annotated[bool, Field(description="Whether the text's record alone named it.")]
    without: Annotated[list[str], Field(description="What was taken out of the words before.")]
    log10_p: Annotated[float, Field(le=0, description="Corrected for all tests of the text (Holm).")]
    log10_p_uncorrected: Annotated[float, Field(le=0)]


class Finding(_Strict):
    """What is said of one text, as `tradeoff detect --json` prints it."""

    id: str
    source: Annotated[str, Field(description='Name of the file; "-" for a text in JSON.')]
    verdict: Literal["watermarked", "watermarked in part", "not detected", "too short"]
    log10_p: Annotated[
        float,
        Field(
            le=0,
            description="Decimal logarithm of the p-value: how rarely a key picked at random scores so high "
            "on this text, corrected for all that was looked at.",
        ),
    ]
    log10_p_uncorrected: Annotated[float, Field(le=0)]
    tokens: Annotated[int, Field(description="Tokens of the text.")]
    tokens_scored: Annotated[int, Field(description="How many of them count.")]
    detector: str
    method: str | None
    watermark: str | None
    alpha: float = 0.5
    prf: str
    context_width: int
    key: Annotated[str, Field(description="Fingerprint of the key of the best test.")]
    key_name: str
    fpr: Annotated[float, Field(description="False-positive rate of the verdict.")]
    log10_p_whole: Annotated[float, Field(le=0, description="Of the whole text alone, not corrected.")]
    share: Annotated[
        float | None,
        Field(description="Of the tokens that count, how many lie in segments; null if not looked."),
    ]
    segments: list[Segment]
    tests: Annotated[list[Tested], Field(description="All tests that were made.")]


class DetectAnswer(_Strict):
    """What is said of every text of a request."""

    results: Annotated[list[Finding], Field(description="Of every text that could be read, in order.")]
    unread: Annotated[list[str], Field(description="Why others of a file could not be read.")]
    warnings: Annotated[
        list[str],
        Field(description="What records, files and the server disagree about, or what is left out."),
    ]
    notes: Annotated[list[str], Field(description="What is assumed of texts that say nothing.")]


class KeySetting(_Strict):
    """One way texts are read under a key."""

    method: str | None
    watermark: str | None
    alpha: float | None
    prf: str
    context_width: int
    detector: str
    tokenizer: str


class KeyTold(_Strict):
    """A key, without its secret."""

    fingerprint: Annotated[str, Field(description="It names the key and does not reveal it.")]
    name: str
    valid_from: Annotated[str | None, Field(description="First day of its use.")]
    valid_until: Annotated[str | None, Field(description="Last day of its use.")]
    settings: Annotated[list[KeySetting], Field(description="What is tested of every text.")]


class KeysAnswer(_Strict):
    """The keys of the server."""

    keys: list[KeyTold]


class Health(_Strict):
    """That the server is there."""

    status: Literal["ok"]


class ErrorTold(_Strict):
    """Why a request was not answered."""

    code: Annotated[str, Field(description="For programs: names are stable.", examples=["invalid_argument"])]
    argument: Annotated[str, Field(description="What is at fault; empty for none.")]
    message: Annotated[str, Field(description="What is wrong with it.")]
    remedy: Annotated[str, Field(description="What to do.")]


class ErrorAnswer(_Strict):
    """The answer to a request that is refused."""

    error: ErrorTold
