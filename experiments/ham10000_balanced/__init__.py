"""HAM10000, a balanced subset of three classes."""
