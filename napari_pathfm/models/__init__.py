"""Encoders and segmenters: what each one is, how it is loaded, how it answers."""
