-- The newest stored statistics of every dataset, model, parameters and label set.
SELECT *
FROM label_stats
QUALIFY computed_from = max(computed_from) OVER (
    PARTITION BY dataset, model_id, params_id, label_set_id
)
ORDER BY dataset, model_id, params_id, label_set_id, count DESC, label
