"""How a dataset stands, as Prometheus reads it (the text format)."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, generate_latest

if TYPE_CHECKING:
    from tasks.overview import Overview


def prometheus_text(found: "Overview") -> str:
    """Write numbers as gauges, each with the dataset as a label.

    Args:
        found: What is told.
    """
    registry = CollectorRegistry()

    def gauge(name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"segmill_{name}", about, ["dataset", *labels], registry=registry)

    for name, about, value in (
        ("images", "Images in the dataset.", found.images),
        ("segments", "Segments on them, of all models.", found.segments),
        ("drops_waiting", "Complete drops that are not taken in.", len(found.drops_waiting)),
        ("drops_uploading", "Drops that may still be written.", len(found.drops_uploading)),
        ("drops_unreadable", "Drops that may not be looked into.", len(found.drops_unreadable)),
        ("images_pending", "Images that are not segmented.", found.images_pending),
        ("images_deferred", "Those that the next run would leave.", found.images_deferred),
        ("curated_new_masks", "Curated masks since the last training.", found.curation.new),
        ("curated_needed_masks", "How many start a training.", found.curation.needed),
    ):
        gauge(name, about).labels(found.dataset).set(value)
    gauge("live_model_info", "The live model.", "model_id").labels(
        found.dataset, found.live.model_id
    ).set(1)
    refused = gauge("quarantined", f"Refused in {found.quarantine_days} days.", "rule")
    for rule, count in found.quarantine.items():
        refused.labels(found.dataset, rule).set(count)
    ended = gauge("stage_ended_timestamp_seconds", "When its newest run stored its last.", "stage")
    rows = gauge("stage_rows", "Rows that its newest run wrote.", "stage")
    seconds = gauge("stage_device_seconds", "How long its newest run held the device.", "stage")
    for run in found.last_runs:
        ended.labels(found.dataset, run.stage).set(run.last_at.timestamp())
        rows.labels(found.dataset, run.stage).set(run.outputs)
        if run.device_seconds is not None:
            seconds.labels(found.dataset, run.stage).set(run.device_seconds)
    text: str = generate_latest(registry).decode()
    return text
