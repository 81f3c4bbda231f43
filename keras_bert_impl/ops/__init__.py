"""Operations with variants for backends and exports, one file per operation: the plain form, then the variants."""
