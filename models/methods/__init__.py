"""The anomaly methods, one file each; importing this package makes them known to `models.create`."""
