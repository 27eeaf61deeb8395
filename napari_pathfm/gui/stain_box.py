"""Which stain normalisation tiles go through on their way to the encoder."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QWidget

from ..analysis.stain_normalise import FITS, Reference, typical

AS_SCANNED = "Stains as scanned"


class StainBox(QComboBox):
    """None at first, or a method that makes the slide look like a typical H&E slide."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.addItem(AS_SCANNED, "")
        for method in FITS:
            self.addItem(f"Stains normalised ({method.title()})", method)
        self.setToolTip(
            "Make every slide look like a typical H&E slide before the encoder sees it. Such "
            "embeddings are kept apart from others."
        )

    def value(self) -> Reference | None:
        """Return what the slide is to look like, if anything."""
        method: str = self.currentData()
        return typical(method) if method else None

    def setValue(self, method: str) -> None:
        """Choose a method by its name; empty for none."""
        self.setCurrentIndex(self.findData(method))
