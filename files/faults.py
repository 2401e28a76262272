"""Why a storage does not do what it is asked, in words that an operator can act on; what each library raises
for it is known to the storage's own module."""

import enum
import errno


class Fault(enum.Enum):
    """The end of a sentence that begins with what could not be done."""

    CREDENTIALS = "the credentials are missing, wrong or expired"
    CLOCK = "the clock of this machine is too far from the store's"
    DENIED = "the credentials are good, but are not allowed this"
    NO_BUCKET = "there is no such bucket"
    REGION = "the bucket is in another region"
    ACL = "the bucket takes no ACL; leave AWS_DEFAULT_ACL out"
    CONDITION = "the store does not know If-None-Match; set AWS_S3_FILE_OVERWRITE=True"
    UNREACHABLE = "nothing answers at its address"
    NOT_WRITABLE = "the folder is not this user's to write to"
    FULL = "there is no room left"
    MISSING = "what was written is not there"

    @property
    def passes(self) -> bool:
        """Whether it may be over when the same is tried again, with nobody having done anything."""
        return self in {Fault.UNREACHABLE, Fault.FULL, Fault.MISSING}


_DISK = {
    errno.EACCES: Fault.NOT_WRITABLE,
    errno.EPERM: Fault.NOT_WRITABLE,
    errno.EROFS: Fault.NOT_WRITABLE,
    errno.ENOTDIR: Fault.NOT_WRITABLE,
    errno.EEXIST: Fault.NOT_WRITABLE,
    errno.ENOSPC: Fault.FULL,
    errno.EDQUOT: Fault.FULL,
    errno.ENOENT: Fault.MISSING,
}


def of_disk(error: BaseException) -> Fault | None:
    """What the operating system means."""
    return _DISK.get(error.errno or 0) if isinstance(error, OSError) else None
