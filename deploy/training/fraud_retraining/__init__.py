"""From labels to a better model in production: the steps of the retraining, each a command on a run's folder.

Airflow's DAG (`deploy/airflow`) only orders them. Nothing here knows Airflow; only `registry` knows MLflow.
"""
