"""Corrections of simulated events and their systematic variations: kinematic ones and weights."""
