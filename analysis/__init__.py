"""Configuration, statistics, plots, report and the command line of oddjet; nothing imports this package.

.. include:: statistics.md
"""
