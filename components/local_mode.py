"""Whether the app serves nobody but the person at this computer."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import streamlit as st


def local_mode() -> bool:
    """Whether only this computer reaches the server, so that it may contact any address typed.

    Not so where others come through a proxy: then the browser asked for another host.
    """
    headers = st.context.headers
    forwarded = any(name in headers for name in ("Forwarded", "X-Forwarded-For"))
    host = urlsplit(f"//{headers.get('Host') or 'localhost'}").hostname
    return not forwarded and all(
        _is_loopback(name) for name in (str(st.get_option("server.address") or ""), host or "")
    )


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
