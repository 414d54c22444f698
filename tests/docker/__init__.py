"""The Docker image and the Compose files, used through the docker command as a user would."""
