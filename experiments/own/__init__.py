"""The demo on drawn images, sized for a laptop."""
