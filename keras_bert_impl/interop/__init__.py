"""Interoperability: verification against transformers on torch, and conversion to KerasHub and back."""
