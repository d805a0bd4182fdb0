"""Batch submission of oddjet's stages to HTCondor."""
