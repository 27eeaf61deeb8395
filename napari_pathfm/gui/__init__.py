"""The window: Qt and napari, thin over the session."""
