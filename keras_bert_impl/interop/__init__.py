"""Beside other libraries: verification against transformers on torch, and weights for KerasHub and back."""
