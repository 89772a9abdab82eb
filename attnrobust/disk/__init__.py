"""DISK: files, runs, stamps and folders; the one place that knows how results are kept."""
