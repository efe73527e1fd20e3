-- What a run of segment finished, by the models and the device that it used.
-- Parameter: $run_id
WITH finished AS (
    SELECT unit_id, model_id, params_id, label_set_id, inputs, outputs, device, device_seconds
    FROM units
    WHERE stage = 'segment' AND run_id = $run_id
),
refused AS (
    SELECT unit_id, count(*) AS images
    FROM quarantine
    WHERE stage = 'segment'
    GROUP BY unit_id
)
SELECT
    model_id,
    params_id,
    label_set_id,
    device,
    count(*) AS batches,
    (sum(inputs) - coalesce(sum(refused.images), 0))::BIGINT AS images,
    sum(outputs)::BIGINT AS segments,
    coalesce(sum(refused.images), 0)::BIGINT AS quarantined,
    -- In a fixed order, so that the sum is the same to the last digit.
    coalesce(sum(device_seconds ORDER BY unit_id), 0) AS device_seconds
FROM finished LEFT JOIN refused USING (unit_id)
GROUP BY model_id, params_id, label_set_id, device
ORDER BY model_id, params_id, label_set_id, device
