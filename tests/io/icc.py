"""Profiles with a known effect, for tests."""

from __future__ import annotations

from PIL import ImageCms


def swapping_profile() -> bytes:
    """Return sRGB with red and blue exchanged: what it calls red is blue."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return (
        data.replace(b"rXYZ", b"tmp!", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmp!", b"bXYZ", 1)
    )
