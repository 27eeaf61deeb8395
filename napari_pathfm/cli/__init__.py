"""The verbs in a terminal: ``pathfm``, one file a group of commands."""

from .main import app

__all__ = ["app"]
