"""REPORT: measurements and images on disk to tables, figures and one HTML page."""
