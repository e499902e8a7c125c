"""A local AWS endpoint for a first try and for offline tests. Nothing else in the package imports it."""
