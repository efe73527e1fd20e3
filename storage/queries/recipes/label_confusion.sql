-- How two models name the same places: pairs of their segments with nearly one box, by labels.
-- $model_a = null: one model; null takes the one before the newest
-- $model_b = null: the other one; null takes the newest
-- $min_iou = 0.5: how much two boxes overlap at least, as intersection over union
-- $dataset = null: only this dataset
-- Of a model that cut an image several times, with other parameters or labels, the last one counts.
WITH cuts AS (
    SELECT image_id, model_id, params_id, label_set_id, max(created_at) AS cut_at
    FROM segments
    WHERE $dataset::VARCHAR IS NULL
       OR image_id IN (SELECT image_id FROM images WHERE dataset = $dataset::VARCHAR)
    GROUP BY image_id, model_id, params_id, label_set_id
    QUALIFY 1 = row_number() OVER (
        PARTITION BY image_id, model_id ORDER BY cut_at DESC, params_id, label_set_id
    )
),
models AS (
    SELECT model_id, row_number() OVER (ORDER BY max(cut_at) DESC, model_id DESC) AS age
    FROM cuts
    GROUP BY model_id
),
compared AS (
    SELECT
        coalesce($model_a::VARCHAR, max(model_id) FILTER (age = 2)) AS model_a,
        coalesce($model_b::VARCHAR, max(model_id) FILTER (age = 1)) AS model_b
    FROM models
),
boxes AS (
    SELECT
        image_id,
        model_id,
        label,
        bbox_xywh[1] AS left_px,
        bbox_xywh[2] AS top_px,
        bbox_xywh[1] + bbox_xywh[3] AS right_px,
        bbox_xywh[2] + bbox_xywh[4] AS bottom_px,
        bbox_xywh[3] * bbox_xywh[4] AS box_px
    FROM segments
    SEMI JOIN cuts USING (image_id, model_id, params_id, label_set_id)
),
overlapping AS (
    SELECT
        a.image_id,
        model_a,
        model_b,
        a.label AS label_a,
        b.label AS label_b,
        (least(a.right_px, b.right_px) - greatest(a.left_px, b.left_px))
            * (least(a.bottom_px, b.bottom_px) - greatest(a.top_px, b.top_px)) AS common_px,
        common_px / (a.box_px + b.box_px - common_px) AS iou
    FROM compared
    JOIN boxes AS a ON a.model_id = model_a
    JOIN boxes AS b
        ON b.model_id = model_b
        AND a.image_id = b.image_id
        AND a.left_px < b.right_px
        AND b.left_px < a.right_px
        AND a.top_px < b.bottom_px
        AND b.top_px < a.bottom_px
)
SELECT
    label_a,
    label_b,
    count(*) AS pairs,
    count(DISTINCT image_id) AS images,
    round(avg(iou), 3) AS mean_iou,
    model_a,
    model_b
FROM overlapping
WHERE iou >= $min_iou
GROUP BY ALL
ORDER BY pairs DESC, label_a, label_b
