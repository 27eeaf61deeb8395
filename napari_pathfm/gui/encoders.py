"""The encoders that are in memory, and the device that new ones are loaded on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..models import catalog
from ..models.base import DeviceLost, Encoder
from ..models.device import lost

PROCESSOR = "cpu"


def fresh(name: str) -> Callable[[], Encoder]:
    """Return what loads an encoder anew."""
    return lambda: catalog.get_encoder(name)


class Encoders:
    """Loads each encoder once.

    Attributes
    ----------
    device : str or None
        Where encoders are loaded; ``None``: on the best device.
    """

    def __init__(self) -> None:
        self.device: str | None = None
        self._loaded: dict[tuple[str, Path | None], Encoder] = {}

    def known(self, name: str, asked: Path | None) -> Encoder | None:
        """Return an encoder that is in memory, with the weights that were asked for, if any."""
        return self._loaded.get((name, asked))

    def load(self, name: str, asked: Path | None, weights: Path | None) -> Encoder:
        """Return an encoder; called in a job, for it may take seconds.

        Parameters
        ----------
        name : str
        asked : Path or None
            The weights that the user gave, or that lie in the project.
        weights : Path or None
            Where they, or the encoder's own ones, were found.

        Raises
        ------
        DeviceLost
            The device does not answer.
        ModelError
            The weights are missing or wrong.
        """
        if (name, asked) not in self._loaded:
            try:
                made = catalog.get_encoder(name, weights=weights, device=self.device)
            except RuntimeError as error:
                if not lost(error):
                    raise
                raise DeviceLost(f"The device does not answer: {error}") from error
            self._loaded[name, asked] = made
        return self._loaded[name, asked]

    def loader(self, name: str, asked: Path | None) -> Callable[[], Encoder]:
        """Return what loads an encoder: the last one in memory, whatever its weights, if any."""
        files = [file for known, file in self._loaded if known == name]
        asked = files[-1] if files else asked
        return partial(self.load, name, asked, asked)

    def start_anew(self, device: str | None) -> None:
        """Forget all that is on a device that was lost, and load on this one from now on."""
        self._loaded.clear()
        self.device = device
