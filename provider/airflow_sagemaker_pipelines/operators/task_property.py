"""Properties of tasks that Airflow also asks of their class, for a mapped task that has no instance yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _TaskProperty(Generic[T]):
    def __init__(self, function: Callable[[Any], T], of_class: T) -> None:
        self.__doc__ = function.__doc__
        self._function = function
        self._of_class = of_class

    def __get__(self, task: object | None, owner: type) -> T:
        return self._of_class if task is None else self._function(task)


def asked_of_tasks(of_class: Any) -> Callable[[Callable[[Any], T]], _TaskProperty[T]]:
    """Make a method a property of tasks.

    :param of_class: its value for the class.
    """
    return lambda function: _TaskProperty(function, of_class)
