-- The newest stored statistics of every dataset, model, parameters and label set.
SELECT label_stats.*
FROM stored.label_stats AS label_stats
JOIN (SELECT unit_id, committed_at FROM units) USING (unit_id) -- which is also what makes them count
-- Two counts of one version differ when images joined in between: the later unit knows more.
QUALIFY 1 = rank() OVER (
    PARTITION BY dataset, model_id, params_id, label_set_id
    ORDER BY computed_from DESC, committed_at DESC, unit_id
)
ORDER BY dataset, model_id, params_id, label_set_id, count DESC, label
