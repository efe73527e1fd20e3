"""What is computed: masks, models, labels, drawing; no Prefect, no storage."""
