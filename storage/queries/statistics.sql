-- Segments counted by label, dataset, model or night (the day in UTC on which they were found).
-- Parameters: $by (label, dataset, model or night), $since (null takes all),
-- $dataset, $model_id, $params_id, $label_set_id (null takes all)
WITH memberships AS (
    SELECT DISTINCT dataset, image_id FROM images
),
found AS (
    SELECT
        CASE $by
            WHEN 'label' THEN label
            WHEN 'dataset' THEN dataset
            WHEN 'model' THEN model_id
            WHEN 'night' THEN strftime(created_at AT TIME ZONE 'UTC', '%Y-%m-%d')
        END AS key,
        CASE WHEN $by = 'model' THEN params_id END AS key_params_id,
        CASE WHEN $by = 'model' THEN label_set_id END AS key_label_set_id,
        segments.*
    FROM segments
    JOIN memberships USING (image_id)
    WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
      AND ($model_id::VARCHAR IS NULL OR model_id = $model_id)
      AND ($params_id::VARCHAR IS NULL OR params_id = $params_id)
      AND ($label_set_id::VARCHAR IS NULL OR label_set_id = $label_set_id)
      AND ($since::TIMESTAMPTZ IS NULL OR created_at >= $since::TIMESTAMPTZ)
),
-- What was cut before image_labels was there has no union: then the label has none.
unions AS (
    SELECT
        label AS key,
        CASE WHEN bool_and(union_area_px IS NOT NULL) THEN sum(union_area_px)::BIGINT END
            AS union_area_px
    FROM (SELECT DISTINCT unit_id, image_id, label FROM found WHERE $by = 'label')
    LEFT JOIN image_labels USING (unit_id, image_id, label)
    GROUP BY label
)
SELECT
    key,
    key_params_id AS params_id,
    key_label_set_id AS label_set_id,
    count(*) AS count,
    count(DISTINCT image_id) AS images,
    sum(area_px)::BIGINT AS total_area_px,
    any_value(unions.union_area_px) AS union_area_px,
    avg(area_px) AS mean_area_px,
    median(area_px)::DOUBLE AS median_area_px,
    avg(score) AS mean_score,
    count(*) FILTER (label = 'unknown') / count(*) AS unknown_share
FROM found
LEFT JOIN unions USING (key)
GROUP BY key, key_params_id, key_label_set_id
ORDER BY
    CASE WHEN $by = 'night' THEN key END,
    count DESC,
    key,
    key_params_id,
    key_label_set_id
