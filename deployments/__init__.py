"""Where flows run: work pools, automations, containers; the deployments are in `prefect.yaml`."""
