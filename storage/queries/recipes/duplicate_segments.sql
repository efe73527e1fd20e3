-- Pairs of segments of one image, cut and named alike, with nearly the same box.
-- $min_iou = 0.9: how much two boxes overlap at least, as intersection over union
-- $limit = 100: rows shown
-- $dataset = null: only this dataset
-- $model_id = null: only what this model cut
WITH chosen AS (
    SELECT image_id, min(file_name) AS file_name
    FROM images
    WHERE $dataset::VARCHAR IS NULL OR dataset = $dataset::VARCHAR
    GROUP BY image_id
),
boxes AS (
    SELECT
        segments.*,
        file_name,
        bbox_xywh[1] AS left_px,
        bbox_xywh[2] AS top_px,
        bbox_xywh[1] + bbox_xywh[3] AS right_px,
        bbox_xywh[2] + bbox_xywh[4] AS bottom_px,
        bbox_xywh[3] * bbox_xywh[4] AS box_px,
        -- A row written twice has one id, and is a duplicate all the same.
        row_number() OVER (ORDER BY segment_id) AS number
    FROM segments
    JOIN chosen USING (image_id)
    WHERE $model_id::VARCHAR IS NULL OR model_id = $model_id::VARCHAR
),
overlapping AS (
    SELECT
        a.file_name,
        a.label AS label_a,
        b.label AS label_b,
        (least(a.right_px, b.right_px) - greatest(a.left_px, b.left_px))
            * (least(a.bottom_px, b.bottom_px) - greatest(a.top_px, b.top_px)) AS common_px,
        common_px / (a.box_px + b.box_px - common_px) AS iou,
        a.area_px AS area_a_px,
        b.area_px AS area_b_px,
        a.model_id,
        a.image_id,
        a.segment_id AS segment_a,
        b.segment_id AS segment_b
    FROM boxes AS a
    JOIN boxes AS b
        ON a.image_id = b.image_id
        AND a.model_id = b.model_id
        AND a.params_id = b.params_id
        AND a.label_set_id = b.label_set_id
        AND a.number < b.number
        AND a.left_px < b.right_px
        AND b.left_px < a.right_px
        AND a.top_px < b.bottom_px
        AND b.top_px < a.bottom_px
)
SELECT
    file_name,
    label_a,
    label_b,
    round(iou, 3) AS box_iou,
    area_a_px,
    area_b_px,
    model_id,
    image_id,
    segment_a,
    segment_b
FROM overlapping
WHERE iou >= $min_iou
ORDER BY iou DESC, image_id, segment_a, segment_b
LIMIT $limit
