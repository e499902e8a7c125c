"""Every place where this endpoint reaches into moto, in one module: a new moto is checked here.

moto has no plugin system; replacing classes and functions is what its maintainers advise (getmoto/moto#7126).
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import moto.core.responses
import moto.core.utils
from moto import backends
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_server import werkzeug_app
from moto.sagemaker.models import sagemaker_backends

from . import lambdas
from .backend import LocalSageMakerBackend, install_backend, uninstall_backend

if TYPE_CHECKING:
    from flask import Flask
    from moto.backends import SERVICE_NAMES

    from .engine import Engine

# Our parts of services that few use, by moto's name of the service: moto takes most of a second to import EMR.
_PARTS = {
    "emr": f"{__package__}.emr",
    "emrserverless": f"{__package__}.emr_serverless",
    "events": f"{__package__}.events",
}

_modules = backends.list_of_moto_modules
_method_names = moto.core.utils.method_names_from_class
_cached_modules = functools.cache(lambda: tuple(_modules()))
_cached_method_names = functools.cache(_method_names)


def install(endpoint_url: str) -> None:
    """Put our parts in, before the first request; doing it again does no harm, but forgets SageMaker's state."""
    _install_caches()
    install_backend()
    lambdas.install(endpoint_url)


def uninstall() -> None:
    """Take our parts out again; moto's state is cleared."""
    close_engines()
    reset_moto()
    uninstall_backend()
    lambdas.uninstall()
    for part in _PARTS.values():
        if part in sys.modules:
            sys.modules[part].uninstall()
    backends.list_of_moto_modules = _modules
    moto.core.responses.method_names_from_class = _method_names  # type: ignore[attr-defined]


def create_backend_app(service: SERVICE_NAMES) -> Flask:
    """Make moto's application of one service, when the first request for it comes, with our part in it."""
    part = _PARTS.get(service.replace("-", ""))
    if part is not None:
        importlib.import_module(part).install()
    return werkzeug_app.create_backend_app(service)


def engines() -> Iterator[Engine]:
    """Return the engines of all accounts and regions that were used."""
    for _, _, backend in list(sagemaker_backends.iter_backends()):
        if isinstance(backend, LocalSageMakerBackend):
            yield backend.engine


def close_engines() -> None:
    """Tell all jobs to end."""
    for engine in engines():
        engine.close()


def reset_moto() -> None:
    """Forget all of moto's state, as its own ``/moto-api/reset`` does."""
    BackendDict.reset()
    reset_model_data()


def _install_caches() -> None:
    """Remember two things that moto works out again for every request, which is two thirds of a request's time.

    One lists a directory tree under a lock, the other inspects a class with hundreds of methods; neither changes
    while a process lives.
    """
    backends.list_of_moto_modules = _cached_modules
    moto.core.responses.method_names_from_class = _cached_method_names  # type: ignore[attr-defined]
