"""Beside other libraries: verification against transformers on torch."""
