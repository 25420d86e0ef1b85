"""A project of Django's, as it was before it had lazycrop: photos in an ImageField, a page of them, the admin."""
