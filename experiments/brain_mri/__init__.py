"""Experiments on brain scans."""
