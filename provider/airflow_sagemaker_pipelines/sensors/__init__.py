"""Sensors: tasks that wait for what others make happen on AWS."""
