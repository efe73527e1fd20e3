-- Images that no finished unit has segmented with this model, these parameters and labels.
-- Parameters: $model_id, $params_id, $label_set_id, and $dataset (null takes all)
SELECT
    image_id,
    min(uri) AS uri,
    min(width_px) AS width_px,
    min(height_px) AS height_px
FROM images
WHERE ($dataset::VARCHAR IS NULL OR dataset = $dataset)
  AND image_id NOT IN (
    SELECT unnest(image_ids)
    FROM units
    WHERE stage = 'segment'
      AND model_id = $model_id
      AND params_id = $params_id
      AND label_set_id = $label_set_id
)
GROUP BY image_id
ORDER BY image_id
