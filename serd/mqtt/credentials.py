"""Secrets that systemd keeps: named by their place in its store, read where it hands them over.

A service without rights cannot read ``/etc/credstore``, where only root may look. systemd puts a
copy of what the unit asks for (``LoadCredential=``) into ``$CREDENTIALS_DIRECTORY``, for that
service alone (systemd.exec(5)). The configuration names the file in the store, so that the same
configuration is right for the service and for a command that root runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serd.config import MqttConfig

STORE: Final = Path("/etc/credstore")
"""Where systemd looks for a service's secrets."""


def handed_over(settings: MqttConfig, env: Mapping[str, str] | None = None) -> MqttConfig:
    """The settings with the paths at which this process can read its secrets.

    Args:
        settings: The configuration's ``mqtt`` section.
        env: Instead of the process's environment.

    Returns:
        The same, but every file of the store that systemd has handed over is named where it is now.
    """
    folder = (os.environ if env is None else env).get("CREDENTIALS_DIRECTORY")
    if not folder:
        return settings

    def now(path: str | None) -> str | None:
        if path is None or Path(path).parent != STORE:
            return path
        copy = Path(folder) / Path(path).name
        return str(copy) if copy.exists() else path

    tls = settings.tls
    return replace(
        settings,
        password_file=now(settings.password_file),
        tls=replace(tls, ca=now(tls.ca), cert=now(tls.cert), key=now(tls.key)),
    )
