"""Let a widget follow the session for as long as it lives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakMethod

from psygnal import SignalInstance
from qtpy.QtCore import QObject


def follow(owner: QObject, *pairs: tuple[SignalInstance, Callable[[], Any]]) -> None:
    """Connect events of the session to methods of a widget, until the widget is destroyed.

    psygnal holds bound methods weakly, but Qt may destroy a widget while Python still knows it;
    calling it then would be an error in whoever changed the session.

    Parameters
    ----------
    owner : QObject
    pairs : tuple of (signal, bound method)
        The methods are called without arguments.
    """
    for signal, method in pairs:
        signal.connect(method, max_args=0)
    weak = [(signal, WeakMethod(method)) for signal, method in pairs]
    owner.destroyed.connect(partial(_leave, weak))


def _leave(pairs: list[tuple[SignalInstance, WeakMethod[Callable[[], Any]]]], *_: object) -> None:
    for signal, weak in pairs:
        method = weak()
        if method is not None:
            signal.disconnect(method, missing_ok=True)
