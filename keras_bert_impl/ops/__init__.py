"""Every operation that needs more than plain ``keras.ops``, one file each: the plain form first, then its variants."""
