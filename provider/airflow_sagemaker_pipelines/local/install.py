"""Every place where this endpoint reaches into moto, in one module: a new moto is checked here.

moto has no plugin system; replacing classes and functions is what its maintainers advise (getmoto/moto#7126).
"""

from __future__ import annotations

import functools

import moto.core.responses
import moto.core.utils
from moto import backends
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.sagemaker.models import sagemaker_backends

from . import lambdas
from .backend import LocalSageMakerBackend, install_backend, uninstall_backend

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
    backends.list_of_moto_modules = _modules
    moto.core.responses.method_names_from_class = _method_names  # type: ignore[attr-defined]


def close_engines() -> None:
    """Tell all jobs to end."""
    for _, _, backend in list(sagemaker_backends.iter_backends()):
        if isinstance(backend, LocalSageMakerBackend):
            backend.engine.close()


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
