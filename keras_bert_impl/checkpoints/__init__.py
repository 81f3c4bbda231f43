"""Checkpoints as names and arrays: reading every format that BERT comes in, writing safetensors."""
