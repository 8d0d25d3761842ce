"""Buckets of tokens: a minute's requests at once, and then as many as come in again."""

from __future__ import annotations

import pytest

from tradeoff.serving.rates import _REMEMBERED, Rates, client_of


def test_a_minute_of_requests_may_come_at_once_and_then_one_as_often_as_allowed() -> None:
    rates = Rates(6)
    assert [rates.wait("a", 0.0) for _ in range(6)] == [0] * 6
    # One comes in every ten seconds.
    assert rates.wait("a", 0.0) == 10
    assert rates.wait("a", 9.5) == 1
    assert rates.wait("a", 10.0) == 0
    assert rates.wait("a", 10.0) == 10
    assert rates.wait("b", 10.0) == 0


def test_no_more_is_saved_than_a_minute_holds() -> None:
    rates = Rates(2)
    rates.wait("a", 0.0)
    assert [rates.wait("a", 1e6) for _ in range(3)] == [0, 0, 30]


def test_less_than_one_a_minute() -> None:
    rates = Rates(0.5)
    assert (rates.wait("a", 0.0), rates.wait("a", 0.0), rates.wait("a", 120.0)) == (0, 120, 0)


def test_addresses_that_are_remembered_have_an_end() -> None:
    rates = Rates(1)
    assert rates.wait("first", 0.0) == 0
    for number in range(_REMEMBERED):
        rates.wait(str(number), 0.0)
    assert len(rates._buckets) == _REMEMBERED
    assert rates.wait("first", 0.0) == 0


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_a_client_of_ipv6_has_a_network(address: str, client: str) -> None:
    assert client_of(address) == client
