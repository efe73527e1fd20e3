-- Which cut of each image is the newest: of its model, parameters and label set. By units, since a
-- cut may have found nothing. Sessions have it as the view newest_cuts.
SELECT image_id, model_id, params_id, label_set_id, committed_at
FROM (
    SELECT unnest(image_ids) AS image_id, model_id, params_id, label_set_id, committed_at
    FROM units
    WHERE stage = 'segment'
)
QUALIFY 1 = row_number() OVER (
    PARTITION BY image_id ORDER BY committed_at DESC, model_id, params_id, label_set_id
)
