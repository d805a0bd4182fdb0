"""The signals that can be simulated, one file each; a file put here is found by itself."""
