"""Slides, stores, annotation layers, projects, and the formats of others."""
