"""Asks Home Assistant's Supervisor for what it knows: the broker, and which microphone was chosen.

Its interface is described at https://developers.home-assistant.io/docs/api/supervisor/endpoints;
what is used here is open to every add-on (``/services``, ``/addons/self``).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Final

from serd.errors import UnavailableError

ADDRESS: Final = "http://supervisor"
"""Where an add-on finds it."""

_TIMEOUT_S: Final = 20.0
_ANSWER_MAX: Final = 1_000_000


class Supervisor:
    """The Supervisor's API.

    Args:
        token: What it gave this add-on (``$SUPERVISOR_TOKEN``).
        address: Where it is.
    """

    def __init__(self, token: str, address: str = ADDRESS) -> None:
        self._token = token
        self._address = address
        # Never through a proxy: the token is for the Supervisor alone.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def broker(self) -> dict[str, Any] | None:
        """The ``mqtt`` section for the broker that an add-on offers; None if none does.

        Raises:
            UnavailableError: The Supervisor does not answer.
        """
        try:
            service = self._ask("/services/mqtt")
        except _RefusedError:
            return None
        section: dict[str, Any] = {"host": service["host"], "port": int(service["port"])}
        for name in ("username", "password"):
            if service.get(name):
                section[name] = service[name]
        if service.get("ssl"):
            section["tls"] = {"enabled": True}
        return section

    def microphone(self) -> str | None:
        """Name of the PulseAudio source chosen on the add-on's page; None: the default.

        Raises:
            UnavailableError: The Supervisor does not answer.
        """
        try:
            chosen = self._ask("/addons/self/info").get("audio_input")
        except _RefusedError:
            return None
        return None if chosen in {None, "", "default"} else str(chosen)

    def _ask(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is ours
            self._address + path, headers={"Authorization": f"Bearer {self._token}"}
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                said = json.loads(answer.read(_ANSWER_MAX))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 400:  # it knows the question, and the answer is no
                    raise _RefusedError from None
                raise UnavailableError(
                    f"the Supervisor answers {path} with status {error.code}",
                    remedy="see the Supervisor's log",
                ) from None
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"the Supervisor does not answer {path}: {getattr(error, 'reason', error)}",
                remedy="see whether Home Assistant runs, then start the add-on again",
            ) from None
        data = said.get("data") if isinstance(said, dict) else None
        return data if isinstance(data, dict) else {}


class _RefusedError(Exception):
    """The Supervisor says that there is no such thing."""
