"""STUDIES: what spans several runs, each with its table and figure."""
