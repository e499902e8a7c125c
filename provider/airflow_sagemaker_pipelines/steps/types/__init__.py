"""One module per step type; the registry finds the classes here."""
