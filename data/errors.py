"""The errors of oddjet: one class a kind of culprit, each with one message that says what to do."""


class OddjetError(Exception):
    """Base of every error that oddjet raises on purpose; the command line prints it without a traceback."""


class ConfigError(OddjetError):
    """A configuration, recipe or sample definition is wrong: the message names the key and its file."""


class InputError(OddjetError):
    """A file, branch, column or value is wrong: the message names it and the remedy."""


class IncompleteError(OddjetError):
    """Entries expected differ from entries processed: the message lists what is missing."""


class FitError(OddjetError):
    """A fit could not be made or did not converge."""


class TrainingError(OddjetError):
    """A method cannot be trained on the table that it was given."""
