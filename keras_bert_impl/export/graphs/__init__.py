"""What a served model answers, as TensorFlow graphs from text to answer: a module a kind of model."""
