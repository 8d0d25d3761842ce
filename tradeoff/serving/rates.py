"""How often one address may ask: a bucket of tokens for each, filled at a steady rate."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict

__all__ = ["Rates", "client_of"]

#: Addresses that are remembered; of more, those that asked longest ago may ask anew.
_REMEMBERED = 65_536
#: Bits of an IPv6 address that one client has as a rule.
_NETWORK = 64


class Rates:
    """A bucket for each client: it holds a minute's requests, and each takes one.

    Args:
        a_minute: requests a minute, above 0.
    """

    def __init__(self, a_minute: float):
        self._capacity, self._a_second = max(1.0, a_minute), a_minute / 60
        # Of each client what was left, and when.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> int:
        """Take one of a client's tokens.

        Args:
            client: its address.
            now: seconds on a clock that never goes back.

        Returns:
            0, or where there is none whole seconds after which there is.
        """
        left, when = self._buckets.pop(client, (self._capacity, now))
        left = min(self._capacity, left + (now - when) * self._a_second)
        enough = left >= 1
        self._buckets[client] = (left - 1 if enough else left, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return 0 if enough else max(1, math.ceil((1 - left) / self._a_second))


def client_of(address: str) -> str:
    """What an address is limited as: of IPv6 the network that one client has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found), _NETWORK), strict=False))
    return str(found)
