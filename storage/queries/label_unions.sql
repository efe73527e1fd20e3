-- Pixels covered by at least one mask of a label, of one dataset, model, parameters and label set.
-- Parameters: $dataset, $model_id, $params_id, $label_set_id
SELECT label, sum(union_area_px)::BIGINT AS union_area_px
FROM image_labels
SEMI JOIN (SELECT image_id FROM images WHERE dataset = $dataset) USING (image_id)
WHERE model_id = $model_id AND params_id = $params_id AND label_set_id = $label_set_id
GROUP BY label
