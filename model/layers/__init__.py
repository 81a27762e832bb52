"""Layers and losses that systems share."""
