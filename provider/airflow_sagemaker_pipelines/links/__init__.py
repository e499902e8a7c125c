"""Links from a task to its resource on AWS."""
