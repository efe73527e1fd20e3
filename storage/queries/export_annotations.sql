-- Ingested annotations with their images, in the columns of export_segments; a row without
-- object_id is an image without any.
-- Parameters: $dataset, $split (null takes all), $labels (an empty list takes all),
-- $empty_images (whether images without such annotations come too)
WITH chosen_images AS (
    SELECT *
    FROM images
    WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
      AND ($split::VARCHAR IS NULL OR split = $split)
    -- One image may have come with several drops, for several datasets.
    QUALIFY 1 = row_number() OVER (PARTITION BY image_id ORDER BY ingested_at, dataset, drop_id)
),
chosen_annotations AS (
    SELECT annotations.* EXCLUDE (dataset)
    FROM annotations
    WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
      AND (len($labels::VARCHAR[]) = 0 OR list_contains($labels::VARCHAR[], category))
    -- Two datasets may hold the same drop.
    QUALIFY 1 = row_number() OVER (
        PARTITION BY image_id, annotation_id, category, rle ORDER BY dataset, unit_id
    )
)
SELECT
    image_id,
    chosen_images.dataset,
    chosen_images.file_name,
    chosen_images.uri,
    chosen_images.width_px,
    chosen_images.height_px,
    chosen_images.exif_orientation,
    chosen_images.split,
    annotation_id AS object_id,
    category AS label,
    NULL::VARCHAR AS model_id,
    NULL::DOUBLE AS score,
    iscrowd,
    NULL::BOOLEAN AS isthing,
    NULL::DOUBLE AS predicted_iou,
    NULL::DOUBLE AS stability_score,
    NULL::DOUBLE[] AS point_xy,
    NULL::DOUBLE[] AS crop_box_xywh,
    rle
FROM chosen_images
LEFT JOIN chosen_annotations USING (image_id)
WHERE $empty_images::BOOLEAN OR annotation_id IS NOT NULL
