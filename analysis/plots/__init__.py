"""Plots of a search: arrays and histograms in, matplotlib figures out; nothing here reads a run folder."""
