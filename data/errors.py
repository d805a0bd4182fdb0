"""The errors of oddjet: one class a kind of culprit, each with one message that says what to do."""


class OddjetError(Exception):
    """Base of every error that oddjet raises on purpose; the command line prints it without a traceback."""


class ConfigError(OddjetError):
    """A configuration, recipe or sample definition is wrong: the message names the key and its file."""


class InputError(OddjetError):
    """A file, branch, column or value is wrong: the message names it and the remedy."""


class FewEventsError(InputError):
    """A spectrum holds too few events for a fit: the message says where, and how many it needs."""


class ReadError(InputError):
    """Bytes of a file could not be had: the server, the network or the disk failed, and another try may succeed."""


class PartialError(InputError):
    """A partial result is not there or damaged: it can be made again."""


class OutputError(OddjetError):
    """A result cannot be written: the message names the place and what the system says."""


class LockedError(OddjetError):
    """Another process works in the run folder."""


class CredentialError(OddjetError):
    """A proxy or a token is missing, damaged, or not valid for long enough."""


class TransferError(OutputError):
    """An output could not be copied to where it should go: the message names the file, the place and the reason."""


class IncompleteError(OddjetError):
    """Entries expected differ from entries processed: the message lists what is missing."""


class FitError(OddjetError):
    """A fit could not be made or did not converge."""


class TrainingError(OddjetError):
    """A method cannot be trained on the table that it was given."""


class BatchError(OddjetError):
    """The batch system is not there, does not answer or refuses: the message has its words."""
