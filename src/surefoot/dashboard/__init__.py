"""The dashboard: a folder of records in, pages in a browser on this machine out."""
