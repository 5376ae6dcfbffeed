"""Network addresses, as far as this service tells them apart."""

from __future__ import annotations

import ipaddress


def is_loopback(address: str) -> bool:
    """Whether it is this machine's own: 127.0.0.0/8 or ::1; a name or a path is not."""
    try:
        # An address of IPv6 may name its network card: `fe80::1%eth0`.
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
