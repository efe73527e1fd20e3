-- The largest segments, and how much of their image each covers.
-- $limit = 20: rows shown
-- $label = null: only this label
-- $dataset = null: only this dataset
-- $model_id = null: only what this model cut
WITH chosen AS (
    SELECT image_id, min(file_name) AS file_name, any_value(width_px * height_px) AS image_px
    FROM images
    WHERE $dataset::VARCHAR IS NULL OR dataset = $dataset::VARCHAR
    GROUP BY image_id
)
SELECT
    file_name,
    label,
    area_px,
    round(area_px / image_px, 4) AS share_of_image,
    round(score, 3) AS score,
    model_id,
    image_id,
    segment_id
FROM segments
JOIN chosen USING (image_id)
WHERE ($label::VARCHAR IS NULL OR label = $label::VARCHAR)
  AND ($model_id::VARCHAR IS NULL OR model_id = $model_id::VARCHAR)
ORDER BY area_px DESC, segment_id
LIMIT $limit
