"""What a server is started with is checked before it is."""

from __future__ import annotations

import pytest

from tradeoff.serving import Access, Limits


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"max_bytes": 0}, "max_bytes=0"),
        ({"max_tokens": -1}, "max_tokens=-1"),
        ({"queue": 0}, "queue=0"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"rate": 0}, "rate=0"),
        ({"rate": float("inf")}, "rate=inf"),
    ],
)
def test_limits_that_let_nothing_through(how: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Limits(**how)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "texts.example", ""])
def test_what_others_reach_has_a_token_or_is_said_to_be_open(host: str) -> None:
    with pytest.raises(ValueError, match=r"can be reached by others.*TRADEOFF_SERVE_TOKEN"):
        Access(host=host)
    assert not Access(host=host, token="a-token-of-this-server").loopback
    assert not Access(host=host, open_to_all=True).loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert Access(host=host).loopback


@pytest.mark.parametrize("token", ["", "short", "with blanks in it somewhere", "naïve-tokens-of-letters"])
def test_tokens_that_are_none_are_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="the token is none of 16") as refused:
        Access(token=token)
    assert not token or token not in str(refused.value)
    assert "a-token" not in repr(Access(token="a-token-of-this-server"))
