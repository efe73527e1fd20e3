"""Where flows run: work pools and, in `prefect.yaml`, the deployments."""
