-- Segments whose first two labels are closest, not decided about yet: where a person helps most.
-- $limit = 20: rows shown
-- $unknown = false: also segments that were left unknown
-- $label = null: only this label
-- $dataset = null: only this dataset
-- $model_id = null: only what this model cut
WITH chosen AS (
    SELECT image_id, min(file_name) AS file_name
    FROM images
    WHERE $dataset::VARCHAR IS NULL OR dataset = $dataset::VARCHAR
    GROUP BY image_id
)
SELECT
    file_name,
    label,
    top[1].label AS first_label,
    top[2].label AS second_label,
    round(margin, 4) AS margin,
    round(score, 3) AS score,
    area_px,
    model_id,
    image_id,
    segment_id
FROM segments
JOIN chosen USING (image_id)
ANTI JOIN decisions USING (segment_id)
WHERE margin IS NOT NULL
  AND ($unknown::BOOLEAN OR label <> 'unknown')
  AND ($label::VARCHAR IS NULL OR label = $label::VARCHAR)
  AND ($model_id::VARCHAR IS NULL OR model_id = $model_id::VARCHAR)
-- The full values, so that rounding changes no place.
ORDER BY segments.margin, segment_id
LIMIT $limit
