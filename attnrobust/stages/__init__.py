"""STAGES: the pipeline in order, and what one run needs on its way through it."""
