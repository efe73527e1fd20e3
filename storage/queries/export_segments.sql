-- Segments with their images, for an export; a row without object_id is an image without any.
-- Parameters: $dataset, $split, $model_id (null takes all), $labels (an empty list takes all),
-- $min_score, $empty_images (whether images without such segments come too)
WITH chosen_images AS (
    SELECT *
    FROM images
    WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
      AND ($split::VARCHAR IS NULL OR split = $split)
    -- One image may have come with several drops, for several datasets.
    QUALIFY 1 = row_number() OVER (PARTITION BY image_id ORDER BY ingested_at, dataset, drop_id)
),
chosen_segments AS (
    SELECT *
    FROM segments
    WHERE coalesce(score, 0) >= $min_score
      AND ($model_id::VARCHAR IS NULL OR model_id = $model_id)
      AND (len($labels::VARCHAR[]) = 0 OR list_contains($labels::VARCHAR[], label))
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
    segment_id AS object_id,
    label,
    model_id,
    score,
    false AS iscrowd,
    isthing,
    predicted_iou,
    stability_score,
    point_xy,
    crop_box_xywh,
    rle
FROM chosen_images
LEFT JOIN chosen_segments USING (image_id)
WHERE $empty_images::BOOLEAN OR segment_id IS NOT NULL
