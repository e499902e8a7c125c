"""How each step type runs on AWS: request, name, start, poll, stop, outputs.

Clients are passed in; nothing here knows Airflow or makes a connection.
"""
