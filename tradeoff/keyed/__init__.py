"""Keys, and the pseudorandom numbers that a key and a context determine."""

from tradeoff.keyed.blake2 import KeyedPrf
from tradeoff.keyed.depth_keys import DepthKeys
from tradeoff.keyed.formats import (
    PRF_NAMES,
    keyword_of,
    parse_prf,
    prf_type,
    reader_of,
    register_prf,
    watermark_of,
)
from tradeoff.keyed.hf_kgw import HfKgw, HfKgwSettings
from tradeoff.keyed.hf_synthid import HfSynthID, HfSynthIDSettings, SamplingTable, ngram_hashes
from tradeoff.keyed.key_files import AnyKey, KeyFile, KeyProfile
from tradeoff.keyed.keyring import Keyring, files_of_keys
from tradeoff.keyed.keys import Key, KeyFormatError, read_key_file
from tradeoff.keyed.philox import VllmPhilox
from tradeoff.keyed.prf import (
    DEFAULT_PRF,
    PAD,
    BasePrf,
    Kind,
    Prf,
    Stream,
    check_gamma,
    check_supplied,
    check_width,
)
from tradeoff.keyed.token_numbers import TokensOnce, listed, listed_share

__all__ = [
    "DEFAULT_PRF",
    "PAD",
    "PRF_NAMES",
    "AnyKey",
    "BasePrf",
    "DepthKeys",
    "HfKgw",
    "HfKgwSettings",
    "HfSynthID",
    "HfSynthIDSettings",
    "Key",
    "KeyFile",
    "KeyFormatError",
    "KeyProfile",
    "KeyedPrf",
    "Keyring",
    "Kind",
    "Prf",
    "SamplingTable",
    "Stream",
    "TokensOnce",
    "VllmPhilox",
    "check_gamma",
    "check_supplied",
    "check_width",
    "files_of_keys",
    "keyword_of",
    "listed",
    "listed_share",
    "ngram_hashes",
    "parse_prf",
    "prf_type",
    "read_key_file",
    "reader_of",
    "register_prf",
    "watermark_of",
]
