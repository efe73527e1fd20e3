-- Curated masks with their images, in the columns of export_segments; a row without object_id is an
-- image without any.
-- Parameters: $dataset, $split (null takes all), $labels (an empty list takes all),
-- $empty_images (whether images without such masks come too)
WITH chosen_images AS (
    SELECT *
    FROM images
    WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
      AND ($split::VARCHAR IS NULL OR split = $split)
    -- One image may have come with several drops, for several datasets.
    QUALIFY 1 = row_number() OVER (PARTITION BY image_id ORDER BY ingested_at, dataset, drop_id)
),
chosen_masks AS (
    SELECT curated.* EXCLUDE (dataset)
    FROM curated
    WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
      AND (len($labels::VARCHAR[]) = 0 OR list_contains($labels::VARCHAR[], label))
    -- On an image of several datasets it is there for each.
    QUALIFY 1 = row_number() OVER (
        PARTITION BY image_id, source, object_id, label, rle ORDER BY dataset
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
    object_id,
    label,
    model_id,
    NULL::DOUBLE AS score,
    false AS iscrowd,
    NULL::BOOLEAN AS isthing,
    NULL::DOUBLE AS predicted_iou,
    NULL::DOUBLE AS stability_score,
    NULL::DOUBLE[] AS point_xy,
    NULL::DOUBLE[] AS crop_box_xywh,
    rle
FROM chosen_images
LEFT JOIN chosen_masks USING (image_id)
WHERE $empty_images::BOOLEAN OR object_id IS NOT NULL
