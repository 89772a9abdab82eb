"""ChestX-ray14, frontal X-rays, any finding or none."""
