"""Wire protocols: one module each, a pure translation between them and a run's events. No I/O, no globals."""
