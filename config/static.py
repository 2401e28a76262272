"""The pages' own files on this machine: by name from the packages, or collected, by name and content."""

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class CollectedStaticStorage(ManifestStaticFilesStorage):
    """After `collectstatic` a file's address changes with its content, so that browsers keep it for ever.

    What was not collected keeps its plain address, where WhiteNoise finds it: a first start needs nothing.
    """

    def stored_name(self, name: str) -> str:
        collected = self.hash_key(self.clean_name(name)) in self.hashed_files
        return super().stored_name(name) if collected else name
