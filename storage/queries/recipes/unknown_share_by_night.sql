-- How much each model left unknown, night by night (days in UTC), and the change since the last.
-- $dataset = null: only this dataset
-- $model_id = null: only what this model cut
WITH nights AS (
    SELECT
        model_id,
        params_id,
        label_set_id,
        (created_at AT TIME ZONE 'UTC')::DATE AS night,
        count(DISTINCT image_id) AS images,
        count(*) AS segments,
        count(*) FILTER (label = 'unknown') AS unknown,
        avg(score) AS mean_score
    FROM segments
    WHERE ($model_id::VARCHAR IS NULL OR model_id = $model_id::VARCHAR)
      AND (
        $dataset::VARCHAR IS NULL
        OR image_id IN (SELECT image_id FROM images WHERE dataset = $dataset::VARCHAR)
      )
    GROUP BY ALL
)
SELECT
    night,
    model_id,
    images,
    segments,
    unknown,
    round(unknown / segments, 4) AS unknown_share,
    round(unknown / segments - lag(unknown / segments) OVER one_series, 4) AS change,
    round(mean_score, 4) AS mean_score,
    params_id,
    label_set_id
FROM nights
WINDOW one_series AS (PARTITION BY model_id, params_id, label_set_id ORDER BY night)
ORDER BY night, model_id, params_id, label_set_id
