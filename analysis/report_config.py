"""Options of the report."""

import pydantic

from data.sections import Section


class ReportConfig(Section):
    """What the report shows."""

    events: int = pydantic.Field(default=3, ge=0, le=50)
    """Most anomalous events of each selection that are listed and displayed."""
