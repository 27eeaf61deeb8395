"""Step 5: write what was corrected as training data."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ..analysis.export import ExportReport, export_dataset
from ..session import Session
from .follow import follow
from .runner import Runner


class ExportPanel(QWidget):
    """Chooses size, resolution and split, and exports images with index masks."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self.report: ExportReport | None = None
        self.patch_px = QSpinBox()
        self.patch_px.setRange(64, 4096)
        self.patch_px.setSingleStep(64)
        self.patch_px.setValue(512)
        self.patch_px.setSuffix(" px")
        self.mpp = QDoubleSpinBox()
        self.mpp.setRange(0, 50)
        self.mpp.setDecimals(3)
        self.mpp.setSingleStep(0.25)
        self.mpp.setSpecialValueText("as scanned")
        self.mpp.setSuffix(" µm/px")
        self.split = QComboBox()
        for train, val, test in ((70, 15, 15), (80, 10, 10), (60, 20, 20), (100, 0, 0)):
            self.split.addItem(f"{train} / {val} / {test} %", (train / 100, val / 100, test / 100))
        self.split.setToolTip("Train / val / test; a region is never in two of them")
        self.export_button = QPushButton("Export…")
        self.result = QLabel()
        self.result.setWordWrap(True)
        self.folder_button = QPushButton("Show the files")
        self.folder_button.hide()
        form = QFormLayout()
        form.addRow("Image side", self.patch_px)
        form.addRow("Resolution", self.mpp)
        form.addRow("Train / val / test", self.split)
        column = QVBoxLayout(self)
        column.addLayout(form)
        row = QHBoxLayout()
        row.addWidget(self.export_button)
        row.addWidget(self.folder_button)
        column.addLayout(row)
        column.addWidget(self.result)
        column.addStretch(1)
        self.export_button.clicked.connect(self._choose_folder)
        self.folder_button.clicked.connect(self._show_files)
        follow(self, (session.events.annotations, self._on_annotations))
        self._on_annotations()

    def blocked(self) -> str:
        if self._session.slide is None:
            return "open a slide first"
        if self._session.annotations is None:
            return "no project is open"
        if not self._session.annotations.objects and not self._labelled():
            return "segment, paint or label something first"
        return ""

    def export(self, folder: Path) -> None:
        """Export to a new folder."""
        session = self._session
        if session.project is None or session.slide is None or session.annotations is None:
            return
        job = export_dataset(
            session.project,
            folder,
            slides={slide.id: slide for slide in session.slides},
            layer=session.annotations.name,
            patch_px=self.patch_px.value(),
            mpp=self.mpp.value() or None,
            split=self.split.currentData(),
        )
        self._runner.start(job, "Exporting", self._take, slot="export")

    def _labelled(self) -> bool:
        labels = self._session.labels
        return labels is not None and bool(labels.any())

    def _choose_folder(self) -> None:
        project = self._session.project
        start = str(project.exports) if project is not None else ""
        path, _ = QFileDialog.getSaveFileName(self, "Export to a new folder", start + "/dataset")
        if path:
            self.export(Path(path))

    def _take(self, report: ExportReport) -> None:
        self.report = report
        self.result.setText(report.summary())
        self.folder_button.show()

    def _show_files(self) -> None:
        if self.report is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.report.folder)))

    def _on_annotations(self) -> None:
        self.result.setText("")
        self.folder_button.hide()
