"""ChestX-ray14, frontal X-rays, pneumothorax or not."""
