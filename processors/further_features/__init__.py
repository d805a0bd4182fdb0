"""Features that a search may add by name in ``features.further``; a file put here is found by itself."""
