"""First study files: what is read, proposed and written."""
