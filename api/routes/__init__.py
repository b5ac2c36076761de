"""HTTP routes: thin, each calls one noun of the level below."""
