"""Kinds of networks, each a stack: every parameter has a leading axis of members that train side by side."""
