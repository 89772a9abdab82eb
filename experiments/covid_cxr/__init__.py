"""COVID-19 image data collection, frontal X-rays, COVID-19 or not."""
