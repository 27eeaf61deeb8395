"""DICOM slides, written here as scanners do: a file a level, JPEG frames in rows of tiles."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.colours import profile_name
from napari_pathfm.io.reader import open_slide

from .icc import swapping_profile

SHAPES = ((1000, 1400), (500, 700), (250, 350))


@pytest.fixture
def drawn(picture: Callable[..., np.ndarray]) -> list[np.ndarray]:
    return [picture(*shape) for shape in SHAPES]


def test_any_file_of_the_series_opens_the_whole_slide(
    drawn: list[np.ndarray], tmp_path: Path
) -> None:
    other = write_dicom(tmp_path / "other", [drawn[2]])[0]
    files = write_dicom(tmp_path, drawn)
    shutil.copy(other, tmp_path / "other.dcm")
    ids = set()
    for path in files[:2]:
        with open_slide(path) as slide:
            assert [level.shape for level in slide.levels] == list(SHAPES)
            assert slide.mpp == pytest.approx(0.5)
            ids.add(slide.id)
            for number, pixels in enumerate(drawn):
                read = slide.read(number, 0, 0, *pixels.shape[:2])
                assert np.abs(read.astype(int) - pixels).mean() < 2
            edge = slide.read(0, 900, 1300, 200, 200)
            assert (edge[100:] == 255).all()
            assert (edge[:, 100:] == 255).all()
    assert len(ids) == 1, "one slide, whichever of its files was chosen"


def test_nothing_that_is_shown_names_the_patient(drawn: list[np.ndarray], tmp_path: Path) -> None:
    with open_slide(write_dicom(tmp_path, drawn)[0]) as slide:
        assert slide.properties["dicom.manufacturer"] == "drawn"
        assert not any("Doe" in value for value in slide.properties.values())


def test_the_profile_of_the_optical_path_is_found(drawn: list[np.ndarray], tmp_path: Path) -> None:
    with open_slide(write_dicom(tmp_path, drawn[:1])[0]) as slide:
        assert slide.icc_profile is not None
        assert profile_name(slide.icc_profile) == profile_name(swapping_profile())


def test_what_is_no_slide_or_damaged_is_told(drawn: list[np.ndarray], tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "whole", drawn[:1])[0]
    (tmp_path / "text.dcm").write_text("no slide at all " * 20)
    with pytest.raises(SlideError, match="no DICOM file"):
        open_slide(tmp_path / "text.dcm", backend="dicom")
    data = path.read_bytes()
    (tmp_path / "head.dcm").write_bytes(data[:600])
    with pytest.raises(SlideError, match="wsidicom cannot read it"):
        open_slide(tmp_path / "head.dcm", backend="dicom")
    frame = data.index(b"\xff\xd8", len(data) // 2)
    (tmp_path / "holes.dcm").write_bytes(data[:frame] + bytes(900) + data[frame + 900 :])
    with open_slide(tmp_path / "holes.dcm") as slide, pytest.raises(SlideError, match="damaged"):
        slide.read(0, 0, 0, *SHAPES[0])
    with open_slide(path) as slide:
        shutil.rmtree(path.parent)
        assert slide.read(0, 0, 0, 9, 9).shape == (9, 9, 3)
    with pytest.raises(SlideError, match="closed"):
        slide.read(0, 0, 0, 9, 9)


def write_dicom(
    folder: Path, levels: Sequence[np.ndarray], tile: int = 256, mpp: float = 0.5
) -> list[Path]:
    """Write ``(h, w, 3)`` uint8 levels and return their files, the finest first."""
    folder.mkdir(parents=True, exist_ok=True)
    same = {
        name: generate_uid()
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PyramidUID")
    }
    paths = []
    for number, pixels in enumerate(levels):
        dataset = _described(pixels, levels[0].shape[0] / pixels.shape[0] * mpp / 1000, tile)
        for name, value in same.items():
            setattr(dataset, name, value)
        dataset.InstanceNumber = number + 1
        kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        dataset.ImageType = kind if number == 0 else ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
        frame_type = Dataset()
        frame_type.FrameType = dataset.ImageType
        groups = dataset.SharedFunctionalGroupsSequence[0]
        groups.WholeSlideMicroscopyImageFrameTypeSequence = [frame_type]
        paths.append(folder / f"level{len(levels) - number}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def _described(pixels: np.ndarray, spacing: float, tile: int) -> Dataset:
    height, width = pixels.shape[:2]
    frames = _frames(pixels, tile)
    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta = meta
    dataset.Modality, dataset.Manufacturer = "SM", "drawn"
    dataset.PatientName, dataset.PatientID, dataset.ContainerIdentifier = "Doe^Jane", "7", "c"
    dataset.Rows = dataset.Columns = tile
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = height, width
    dataset.NumberOfFrames = len(frames)
    dataset.TotalPixelMatrixFocalPlanes = dataset.NumberOfOpticalPaths = 1
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_FULL"
    dataset.PlanarConfiguration = dataset.PixelRepresentation = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "01"
    dataset.LossyImageCompressionRatio = 10
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
    dataset.ImagedVolumeHeight, dataset.ImagedVolumeWidth = height * spacing, width * spacing
    dataset.ImagedVolumeDepth = 0.001
    measures, groups, path, origin = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [spacing, spacing]
    measures.SliceThickness = measures.SpacingBetweenSlices = 0.001
    groups.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [groups]
    path.OpticalPathIdentifier = "0"
    path.ICCProfile = swapping_profile()
    dataset.OpticalPathSequence = [path]
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0
    dataset.TotalPixelMatrixOriginSequence = [origin]
    dataset.ImageOrientationSlide = [0, 1, 0, 1, 0, 0]
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    return dataset


def _frames(pixels: np.ndarray, tile: int) -> list[bytes]:
    height, width = pixels.shape[:2]
    rows, cols = -(-height // tile), -(-width // tile)
    padded = np.zeros((rows * tile, cols * tile, 3), np.uint8)
    padded[:height, :width] = pixels
    return [
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(padded[y : y + tile, x : x + tile]), level=98, subsampling="444"
        )
        for y in range(0, rows * tile, tile)
        for x in range(0, cols * tile, tile)
    ]
