"""HAM10000, dermatoscopy, seven classes."""
