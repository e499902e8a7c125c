"""What ends the demo early."""


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


class Interrupted(Exception):  # noqa: N818 - a request by the user, not an error
    """The user has asked the demo to end (Ctrl-C, SIGTERM, SIGHUP)."""
