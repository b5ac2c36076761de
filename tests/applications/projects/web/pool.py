"""What the app opens for the graph."""

opened: list[str] = []
