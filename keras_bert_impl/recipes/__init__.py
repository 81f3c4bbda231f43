"""Whole jobs as one function each."""
