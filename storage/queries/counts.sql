-- Number of rows in each table that a night fills.
SELECT 'drops' AS table_name, count(*) AS rows FROM drops
UNION ALL SELECT 'images', count(*) FROM images
UNION ALL SELECT 'annotations', count(*) FROM annotations
UNION ALL SELECT 'segments', count(*) FROM segments
UNION ALL SELECT 'label_stats', count(*) FROM label_stats
UNION ALL SELECT 'quarantine', count(*) FROM quarantine
UNION ALL SELECT 'units', count(*) FROM units
ORDER BY table_name
