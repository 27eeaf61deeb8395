"""Geometry, tiles, prompts, edits, jobs and the registry: numpy and frozen dataclasses only."""
