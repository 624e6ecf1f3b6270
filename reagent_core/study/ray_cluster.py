"""The Ray cluster that a study runs on: joining or starting it, and how replicas share it.

Ray is optional, and imported only when somebody asks for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil

from reagent_core.errors import InputError, ModelError

# Rows run side by side without limit, the threads of one forward pass do not: so few threads each.
_CPUS: Final = 4
_PATIENCE_S: Final = 5.0
# Workers send back texts. Ray would reserve a third of the memory, which the models need.
_OBJECT_STORE_BYTES: Final = 256 * 1024**2
# How two sides of HTTP/2 begin, on which Ray's own protocol stands: a preface, and settings (none).
# The fourth byte of what comes back tells that it is settings, too (RFC 9113, 3.4, 4.1 and 6.5).
_SETTINGS: Final = b"\x04"
_HTTP2_HELLO: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)


@dataclass(frozen=True)
class Share:
    """What each replica of a model gets of the cluster, and how many replicas that makes."""

    cpus: int
    gpus: int
    replicas: int


def share(machines: Sequence[Mapping[str, float]]) -> Share:
    """A GPU for each replica where the cluster has any, else about four CPUs.

    `machines`: the resources of each, "CPU" and "GPU", as `ray.nodes` gives them. There is always
    one replica: a machine may come later.
    """
    given = [(int(each.get("GPU", 0)), int(each.get("CPU", 0))) for each in machines]
    with_gpu = [(gpus, cpus) for gpus, cpus in given if gpus]
    if with_gpu:
        # A CPU for each, unless a GPU would then be left without work.
        cpus = min(1, *(cpus // gpus for gpus, cpus in with_gpu))
        return Share(cpus, 1, sum(gpus for gpus, _ in with_gpu))
    counts = [cpus for _, cpus in given if cpus]
    if not counts:
        return Share(1, 0, 1)
    smallest = min(counts)
    cpus = smallest // max(1, smallest // _CPUS)
    return Share(cpus, 0, sum(count // cpus for count in counts))


def import_ray() -> Any:
    """Ray itself, which sends nothing about its use to its makers.

    Raises:
        InputError: it is not installed (field "settings").
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError(
            "Ray is not installed, so no study can run on it. Install it with "
            'pip install "reagent-dashboard[ray]", or run the study on this machine alone.',
            "settings",
        ) from None
    return ray


@contextlib.contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Within it this process belongs to a cluster; a connection that was there already is used,
    and stays.

    `address`: "host:port" of the head of a cluster that this machine belongs to, or "auto" for
    the one that runs here. None for RAY_ADDRESS; where that is not set, for a Ray of its own on
    this machine, which ends with the block.

    Raises:
        InputError: there is no cluster at the address, or it cannot be used from here
            (field "settings").
        ModelError: a Ray of its own does not start.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or None
    before = signal.getsignal(signal.SIGTERM)
    try:
        _start(ray) if address is None else _join(ray, address)
        yield
    finally:
        ray.shutdown()
        # Ray takes this signal over, and keeps it.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _start(ray: Any) -> None:
    try:
        ray.init("local", object_store_memory=_OBJECT_STORE_BYTES, **_QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"Ray does not start on this machine: {_first_line(error)}. Run the study without it, "
            "or start Ray by hand (ray start --head) and give its address."
        ) from error


def _join(ray: Any, address: str) -> None:
    if "://" in address:
        raise InputError(
            f"The address {address!r} is one of Ray's client. Give host:port of the cluster's head "
            "(ray start prints it), and run the study on a machine of the cluster.",
            "settings",
        )
    if address != "auto":
        _check_reachable(address)
    if not any(process.name() == "raylet" for process in psutil.process_iter()):
        raise InputError(
            f"This machine belongs to no Ray cluster, so it cannot use {address!r}. Let it join "
            "(ray start --address HOST:PORT), or run the study on a machine of the cluster.",
            "settings",
        )
    try:
        ray.init(address, **_QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"No Ray cluster can be joined at {address!r}: {_first_line(error)}. Start one there "
            "(ray start --head), or correct the address.",
            "settings",
        ) from error


_QUIET: Final[dict[str, Any]] = {
    "include_dashboard": False,
    "log_to_driver": False,
    "logging_level": "ERROR",
}


def _check_reachable(address: str) -> None:
    """Whether somebody is there who speaks as Ray does; Ray itself would try for a minute.

    Raises:
        InputError: the address is none, or nobody answers.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            f"{address!r} is no address of a Ray cluster. Give host:port of its head, as ray start "
            "prints it, or auto for the cluster that runs on this machine.",
            "settings",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S) as answer:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                answer.sendall(_HTTP2_HELLO)
                if answer.recv(4)[3:] != _SETTINGS:
                    raise OSError("what answers there is something else")
    except OSError as error:
        raise InputError(
            f"No Ray cluster answers at {address!r} ({error}). Start one there (ray start --head), "
            "or correct the address.",
            "settings",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
