"""Which images a run's models have not finished, in batches that are units of work."""

from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.queries import named_query
from storage.session import connect
from tasks.models import ModelChoice

_IMAGES = """
SELECT image_id, min(uri), min(file_name), min(drop_id), dataset, min(width_px), min(height_px)
FROM images
WHERE dataset = $dataset GROUP BY image_id, dataset ORDER BY min(ingested_at), image_id
"""


@dataclass(frozen=True)
class PendingImage:
    """An image that has no segments of the run's models yet."""

    image_id: str
    uri: str
    file_name: str
    drop_id: str
    dataset: str
    width_px: int
    height_px: int


@task(name="list-pending-images", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def list_pending_images(
    root: str, dataset: str, choice: ModelChoice, batch_images: int, limit: int | None = None
) -> list[list[PendingImage]]:
    """Batches of the dataset's images that these models have not finished, oldest drops first.

    Of a drop the images are in the order of their ids. What a run leaves is first in the next one.

    Batches never mix drops and depend on the drop alone, so that two runs at once form the same
    ones and the second finds them committed, even while other drops arrive.

    Args:
        root: The data root.
        dataset: The dataset.
        choice: The models of the run.
        batch_images: Images a batch.
        limit: Take at most this many batches.
    """
    scope = {
        "dataset": dataset,
        "model_id": choice.model_id,
        "params_id": choice.params_id,
        "label_set_id": choice.label_set_id,
    }
    with connect(Lake.open(root)) as session:
        pending = {
            row[0] for row in session.execute(named_query("pending_images"), scope).fetchall()
        }
        images = session.execute(_IMAGES, {"dataset": dataset}).fetchall()
    by_drop: dict[str, list[PendingImage]] = {}
    for row in images:
        image = PendingImage(*row)
        by_drop.setdefault(image.drop_id, []).append(image)
    batches = []
    for members in by_drop.values():
        for start in range(0, len(members), batch_images):
            batch = [
                image
                for image in members[start : start + batch_images]
                if image.image_id in pending
            ]
            if batch:
                batches.append(batch)
    return batches[:limit]
