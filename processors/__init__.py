"""From files to features and histograms: selection, substructure, features, the coffea processors."""
