"""What `manage.py demo` fills a database with: drawn and written here, so that nothing has to be shipped. The
service itself imports none of it."""
