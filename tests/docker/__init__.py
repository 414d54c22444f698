"""Tests of the Docker image and the Compose files, run with the docker command as a user would."""
