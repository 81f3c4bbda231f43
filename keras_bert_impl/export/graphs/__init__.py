"""TensorFlow graphs of SavedModels, from text to predictions: one module per kind of prediction."""
