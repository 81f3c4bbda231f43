"""Vectors as NumPy arrays: their similarity, and exact search."""
