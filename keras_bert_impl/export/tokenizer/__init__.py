"""The tokenizer as TensorFlow operations, for exports that take raw text."""
