-- Statistics of every label in every dataset, model, parameters and label set.
-- Parameters (null takes all): $dataset, $model_id, $params_id, $label_set_id
WITH memberships AS (
    SELECT DISTINCT dataset, image_id FROM images
),
found AS (
    SELECT
        dataset,
        segments.*,
        count(*) OVER same_settings AS all_segments,
        count(*) FILTER (label = 'unknown') OVER same_settings AS unknown_segments
    FROM segments
    JOIN memberships USING (image_id)
    WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
      AND ($model_id::VARCHAR IS NULL OR model_id = $model_id)
      AND ($params_id::VARCHAR IS NULL OR params_id = $params_id)
      AND ($label_set_id::VARCHAR IS NULL OR label_set_id = $label_set_id)
    WINDOW same_settings AS (PARTITION BY dataset, model_id, params_id, label_set_id)
)
SELECT
    dataset,
    model_id,
    params_id,
    label_set_id,
    label,
    count(*) AS count,
    count(DISTINCT image_id) AS images,
    sum(area_px)::BIGINT AS total_area_px,
    avg(area_px) AS mean_area_px,
    median(area_px)::DOUBLE AS median_area_px,
    min(area_px) AS min_area_px,
    max(area_px) AS max_area_px,
    avg(score) AS mean_score,
    any_value(unknown_segments) / any_value(all_segments) AS unknown_share
FROM found
GROUP BY dataset, model_id, params_id, label_set_id, label
ORDER BY dataset, model_id, params_id, label_set_id, count DESC, label
