-- What cutting images took and cost, by night (day in UTC), model and device.
-- $dataset = null: only images of this dataset
-- $model_id = null: only what this model cut
-- $since = null: only what was finished at this time or later
-- $cost_per_hour = null: what an hour of the device costs; null leaves the cost open
-- Units that were finished before seconds were measured have null for both; what was retracted
-- is not here any more.
SELECT
    (committed_at AT TIME ZONE 'UTC')::DATE AS night,
    model_id,
    device,
    sum(inputs)::BIGINT AS images,
    sum(outputs)::BIGINT AS segments,
    round(sum(device_seconds), 3) AS device_seconds,
    round(sum(device_seconds) / sum(inputs), 4) AS seconds_per_image,
    round(sum(device_seconds) / 3600 * $cost_per_hour::DOUBLE, 4) AS cost,
    round(sum(device_seconds) / 3600 * $cost_per_hour::DOUBLE / sum(inputs), 6) AS cost_per_image,
    count(DISTINCT run_id) AS runs,
    params_id
FROM units
WHERE stage = 'segment'
  AND ($model_id::VARCHAR IS NULL OR model_id = $model_id::VARCHAR)
  AND ($since::TIMESTAMPTZ IS NULL OR committed_at >= $since::TIMESTAMPTZ)
  -- A unit is of one dataset's images.
  AND (
    $dataset::VARCHAR IS NULL
    OR image_ids[1] IN (SELECT image_id FROM images WHERE dataset = $dataset::VARCHAR)
  )
GROUP BY night, model_id, params_id, device
ORDER BY night, model_id, params_id, device
