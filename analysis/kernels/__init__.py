"""Compiled loops of the statistical analysis."""
