"""Simulation: Pythia 8 events, a parametric detector response, NanoAOD-like ROOT files (extra ``[simulation]``)."""
