"""Images of your own, without a file for each experiment."""
