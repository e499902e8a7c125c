"""The HTTP server: moto's application behind ours, in threads of this process, on loopback only."""

from __future__ import annotations

import sys
import threading
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
)
from werkzeug.serving import BaseWSGIServer, make_server

from . import control, install, runs
from .calls import OnCall
from .middleware import LocalApplication
from .state import LocalState, Settings, activate, deactivate, no_hook

HOST = "127.0.0.1"


class _QuietHandler(MotoRequestHandler):
    """moto's request handler without a line on stderr for each request."""

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """Take no further request from a connection that broke; one that was reset by a fault is gone."""
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        if type == "error":
            super().log(type, message, *args)


class LocalServer:
    """A local AWS endpoint in this process; one at a time.

    :param settings: how it behaves.
    :param port: the port to listen on; 0 for a free one.
    :param on_call: called at each API call of a client.
    """

    def __init__(self, settings: Settings | None = None, *, port: int = 0, on_call: OnCall = no_hook) -> None:
        self.state = LocalState(settings=settings or Settings(), on_call=on_call)
        self._port = port
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._server.port if self._server is not None else self._port

    @property
    def url(self) -> str:
        """What clients use as ``endpoint_url``. An address, not a name: S3 then uses path-style requests."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Listen; requests are answered when this returns.

        :raises OSError: if the port is taken.
        :raises RuntimeError: if this process has a running endpoint already.
        """
        application = LocalApplication(DomainDispatcherApplication(install.create_backend_app), self.state)
        activate(self.state)
        try:
            self._server = _listen(self._port, application)
            self.state.endpoint_url = self.url
            install.install(self.url)
        except BaseException:
            deactivate(self.state)
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, name="local-aws-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, end the code of running jobs and wait for it, forget everything."""
        if self._server is None:
            return
        install.close_engines()
        _end_processes()
        runs.join_all()
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not None:
            self._thread.join(timeout=5)
        control.reset(self.state)
        install.uninstall()
        deactivate(self.state)
        self._server = None


def _listen(port: int, application: LocalApplication) -> BaseWSGIServer:
    try:
        server = make_server(HOST, port, application, threaded=True, request_handler=_QuietHandler)
    except SystemExit as error:
        # werkzeug prints and leaves when the port is taken.
        raise OSError(f"port {port} of {HOST} is taken") from error
    # A request that is still being answered must not keep the process.
    server.daemon_threads = True  # type: ignore[attr-defined]
    return server


def _end_processes() -> None:
    runner = sys.modules.get(f"{__package__}.runner")
    if runner is not None:
        runner.stop_all()
