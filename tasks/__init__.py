"""Units of work: Prefect tasks that bind vision and storage, a batch each."""
