"""The ground floor of oddjet: sample definitions, event ids, manifests, atomic files and base errors.

Nothing in here imports another oddjet package (``data.simulation`` excepted); all of them may import it.
"""
