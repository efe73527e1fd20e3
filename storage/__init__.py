"""Where things are: settings, objects, Delta tables and the SQL session that reads them."""
