"""A model that was trained elsewhere, tested on somebody's own images."""
