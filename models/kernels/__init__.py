"""Compiled kernels of the methods."""
