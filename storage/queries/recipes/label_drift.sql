-- Which labels grew or shrank from one night (day in UTC) or model to the next, most changed first.
-- $dataset = null: only this dataset
-- $min_change = 0.0: least change of a label's share, 0 to 1
-- $limit = 50: most rows
-- A series is what was cut with one set of labels; a night with two models counts as two steps.
WITH found AS (
    SELECT
        label_set_id,
        (created_at AT TIME ZONE 'UTC')::DATE AS night,
        model_id,
        params_id,
        label,
        count(*) AS segments,
        min(created_at) AS began
    FROM segments
    WHERE $dataset::VARCHAR IS NULL
       OR image_id IN (SELECT image_id FROM images WHERE dataset = $dataset::VARCHAR)
    GROUP BY ALL
),
steps AS (
    SELECT
        label_set_id,
        night,
        model_id,
        params_id,
        sum(segments) AS all_segments,
        row_number() OVER (PARTITION BY label_set_id ORDER BY min(began), model_id, params_id)
            AS step
    FROM found
    GROUP BY label_set_id, night, model_id, params_id
),
-- A label that a step did not find has a share of 0 there.
shares AS (
    SELECT steps.*, label, coalesce(segments, 0) AS segments, coalesce(segments, 0) / all_segments
        AS share
    FROM steps
    JOIN (SELECT DISTINCT label_set_id, label FROM found) USING (label_set_id)
    LEFT JOIN found USING (label_set_id, night, model_id, params_id, label)
),
changes AS (
    SELECT
        *,
        lag(share) OVER one_label AS share_before,
        lag(model_id) OVER one_label AS model_before,
        lag(night) OVER one_label AS night_before
    FROM shares
    WINDOW one_label AS (PARTITION BY label_set_id, label ORDER BY step)
)
SELECT
    label,
    round(share - share_before, 4) AS change,
    round(share_before, 4) AS share_before,
    round(share, 4) AS share,
    segments,
    night_before,
    night,
    model_before,
    model_id AS model,
    label_set_id
FROM changes
WHERE share_before IS NOT NULL AND abs(share - share_before) >= $min_change
ORDER BY abs(share - share_before) DESC, night DESC, label, step DESC
LIMIT $limit
