"""Makes sure that the browser tests have a Chromium, and prints which.

One on the PATH is taken as it is. Else Playwright downloads its own; where that does not work
(no network to its server, or system libraries missing), Debian's package is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Time for a slow line; without a network the download fails within seconds by itself.
DOWNLOAD_SECONDS = 900


def on_path() -> str | None:
    """The first Chromium on the PATH."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def playwrights_own() -> str | None:
    """Playwright's Chromium, if it is downloaded and starts on this machine."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            playwright.chromium.launch().close()
        except Error:
            return None
        return playwright.chromium.executable_path


def download() -> bool:
    """Let Playwright download its Chromium; whether that worked."""
    return succeeds(
        [sys.executable, "-m", "playwright", "install", "chromium"],
        {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "10000"},
    )


def install_from_debian() -> bool:
    """Install the package `chromium` with apt-get; whether that worked."""
    if not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and not shutil.which("sudo"):
        return False
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    return succeeds([*apt, "update"]) and succeeds(
        [*apt, "install", "-y", "--no-install-recommends", "chromium"]
    )


def succeeds(command: Sequence[str], extra: dict[str, str] | None = None) -> bool:
    """Run a command with its output shown; whether it ended well and in time."""
    print("+", *command, flush=True)
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(extra or {})},
            stdin=subprocess.DEVNULL,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main() -> int:
    found = on_path() or playwrights_own()
    if not found and download():
        found = playwrights_own()
    if not found:
        print("Playwright's own Chromium is not to be had here; trying Debian's.", flush=True)
        if install_from_debian():
            found = on_path()
    if not found:
        print(
            "There is no Chromium for the browser tests, and it could be neither downloaded nor "
            "installed. Install Chromium or Chrome so that it is on the PATH, then try again.",
            file=sys.stderr,
        )
        return 1
    print(f"Chromium: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
