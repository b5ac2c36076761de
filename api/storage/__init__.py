"""Where state lives: three small Protocols (`base`) and their backends."""
