"""An agent with typed answers, as a package below src."""
