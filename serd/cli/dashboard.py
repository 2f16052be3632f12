"""``serd dashboard``: the web page."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import echo
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from serd.config import Config
    from serd.dashboard.settings import Settings

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(cls=Command)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 for all, which needs a token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=7373,
    show_default=True,
    metavar="N",
    help="TCP port to listen on; 0 picks a free one.",
)
@click.option(
    "--token-file",
    type=_FILE,
    metavar="FILE",
    help="File whose first line is the token for visitors (at least 16 characters). "
    "Default: $SERD_DASHBOARD_TOKEN, if set.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name browsers may use, besides this machine's; may be repeated.",
)
@click.option(
    "--tls-cert", type=_FILE, metavar="FILE", help="Serve TLS with this certificate chain (PEM)."
)
@click.option("--tls-key", type=_FILE, metavar="FILE", help="The certificate's key (PEM).")
@click.option(
    "--behind-proxy",
    is_flag=True,
    help="A proxy on this machine terminates TLS: cookies are sent over TLS only, and visitors' "
    "addresses are those the proxy reports.",
)
@click.option(
    "--ingress",
    metavar="ADDRESS",
    help="Answer only Home Assistant's ingress proxy at this address, whose login replaces the "
    "token. Used by the add-on.",
)
@click.option(
    "--journal",
    "journals",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="Journal to read history from; may be repeated. Default: the configured one, if it "
    "can be read.",
)
@pass_invocation
def dashboard(
    invocation: Invocation,
    *,
    host: str,
    port: int,
    token_file: Path | None,
    allowed_hosts: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    ingress: str | None,
    journals: tuple[Path, ...],
) -> None:
    """Show all rooms on a web page: live, today, and history.

    It follows the configured broker like any other subscriber. By default it is reachable from this
    machine only; otherwise visitors have to enter the token once.
    """
    loaded = invocation.load().config
    for module in ("starlette", "uvicorn"):
        if importlib.util.find_spec(module) is None:
            raise UnavailableError(
                f"serd dashboard needs {module}, which is not installed",
                remedy="pip install 'serd-emotion[dashboard]'",
            )
    from msgspec.structs import replace

    from serd.dashboard.settings import Settings, read_token

    settings = Settings(
        host=host,
        port=port,
        token=read_token(token_file),
        allowed_hosts=allowed_hosts,
        behind_proxy=behind_proxy,
        ingress=ingress,
        cert=tls_cert,
        key=tls_key,
    )
    settings.check()
    _serve(loaded, replace(settings, journals=_journals(loaded, journals)))


def _journals(config: Config, named: tuple[Path, ...]) -> tuple[Path, ...]:
    """The given journals, which must be readable, or the configured one, which need not be."""
    from serd.dashboard.history import why_unreadable

    for path in named:
        if (error := why_unreadable(path)) is not None:
            raise error
    if named:
        return named
    configured = Path(config.journal.path)
    if (error := why_unreadable(configured)) is not None:
        echo(f"serd: history starts now, with events seen from here on: {error.message}", err=True)
    return (configured,)


def _serve(config: Config, settings: Settings) -> None:
    from serd.dashboard.app import make_app
    from serd.dashboard.broker import Monitor, MqttNodeCommands
    from serd.dashboard.server import bind, serve, url
    from serd.mqtt.follower import Follower

    monitor = Monitor(
        lambda on_connection: Follower(config.mqtt, on_connection=on_connection),
        base=config.mqtt.base_topic,
    )
    app = make_app(settings, monitor, MqttNodeCommands(config.mqtt))
    listening = bind(settings)
    where = url(settings, listening)

    def ready() -> None:
        echo(f"serd: dashboard at {where}; Ctrl-C ends it", err=True)
        if settings.token is not None and not settings.https:
            echo(
                "serd: the token crosses the network unencrypted; use --tls-cert or a proxy "
                "(--behind-proxy)",
                err=True,
            )

    serve(app, monitor, settings, listening, on_ready=ready)
