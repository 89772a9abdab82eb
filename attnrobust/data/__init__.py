"""DATA: raw folders to records, records to tf.data."""
