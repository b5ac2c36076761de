"""What the modules of this project's own `api` and `graph` share."""

from dataclasses import dataclass


@dataclass
class Job:
    """Something to do."""

    name: str

    def shout(self) -> str:
        """Its name, loud."""
        return self.name.upper()
