"""What clients can change: each mutation is one call of a service."""

from typing import Annotated, Any

import strawberry
from django.conf import settings
from strawberry import UNSET, relay
from strawberry.scalars import JSON

from files import errors as domain
from files import services
from files.geometry import FocalPoint
from files.models import File as FileRow
from files.profiles import DEFAULT_PROFILE
from files.services import Deleted, Description
from graph import errors
from graph.context import Info, writer
from graph.enums import Visibility
from graph.errors import (
    BadUserInput,
    EmptyFile,
    FileNotFound,
    FileTooLarge,
    ImageTooLarge,
    InvalidImage,
    InvalidInput,
    QuotaExceeded,
    StorageUnavailable,
    UnknownProfile,
    UnsupportedType,
)
from graph.ids import file_id
from graph.scalars import Upload
from graph.types import File

MAX_DELETIONS = 100


@strawberry.type(description="The file is gone.")
class DeletedFile:
    id: strawberry.ID


UploadFileResult = Annotated[
    File
    | FileTooLarge
    | EmptyFile
    | UnsupportedType
    | InvalidImage
    | ImageTooLarge
    | QuotaExceeded
    | UnknownProfile
    | InvalidInput
    | StorageUnavailable,
    strawberry.union("UploadFileResult", description="The file that was kept, or why it was not."),
]
UpdateFileResult = Annotated[
    File | FileNotFound | InvalidInput | StorageUnavailable,
    strawberry.union("UpdateFileResult", description="The file as it is now, or why it was not changed."),
]
DeleteFileResult = Annotated[
    DeletedFile | FileNotFound | StorageUnavailable,
    strawberry.union("DeleteFileResult", description="The id of the file that is gone, or why it is not."),
]


@strawberry.input
class UploadFileInput:
    file: Upload
    profile: str | None = strawberry.field(default=DEFAULT_PROFILE, description="One of `uploadProfiles`.")
    name: str | None = strawberry.field(
        default=UNSET, description="Instead of the name that the file came with."
    )
    title: str | None = UNSET
    description: str | None = UNSET
    tags: list[str] | None = UNSET
    metadata: JSON | None = strawberry.field(default=UNSET, description="An object, at most 16 KiB of JSON.")
    visibility: Visibility | None = strawberry.field(default=UNSET, description="By default the profile's.")


@strawberry.input(description="What is said here is said of each file.")
class UploadFilesInput:
    files: list[Upload]
    profile: str | None = strawberry.field(default=DEFAULT_PROFILE, description="One of `uploadProfiles`.")
    title: str | None = UNSET
    description: str | None = UNSET
    tags: list[str] | None = UNSET
    metadata: JSON | None = strawberry.field(default=UNSET, description="An object, at most 16 KiB of JSON.")
    visibility: Visibility | None = strawberry.field(default=UNSET, description="By default the profile's.")


@strawberry.input(description="Parts of width and height from the upper left corner, 0 to 1.")
class FocalPointInput:
    x: float
    y: float


@strawberry.input(description="What is left out stays as it is; null empties what may be empty.")
class UpdateFileInput:
    id: strawberry.ID
    name: str | None = UNSET
    title: str | None = UNSET
    description: str | None = UNSET
    tags: list[str] | None = UNSET
    metadata: JSON | None = strawberry.field(default=UNSET, description="Replaces the object as a whole.")
    visibility: Visibility | None = UNSET
    focal_point: FocalPointInput | None = strawberry.field(
        default=UNSET, description="What renditions that cut something off keep in sight; null: the middle."
    )


@strawberry.type
class Mutation:
    @strawberry.mutation(description="Keep one file.")
    def upload_file(self, info: Info, input: UploadFileInput) -> UploadFileResult:
        return services.upload(  # type: ignore[return-value]
            owner=writer(info),
            received=input.file,
            profile=_profile(input),
            description=_description(input),
        )

    @strawberry.mutation(description="Keep several files; one result for each, in their order.")
    def upload_files(self, info: Info, input: UploadFilesInput) -> list[UploadFileResult]:
        owner = writer(info)
        if not 1 <= len(input.files) <= settings.MAX_FILES:
            raise BadUserInput(f"input.files: send 1 to {settings.MAX_FILES} files.")
        outcomes = services.upload_many(
            owner=owner,
            received=input.files,
            profile=_profile(input),
            description=_description(input),
        )
        return [_presented(outcome) for outcome in outcomes]

    @strawberry.mutation(description="Change what is said of a file.")
    def update_file(self, info: Info, input: UpdateFileInput) -> UpdateFileResult:
        viewer = writer(info)
        found = file_id(input.id)
        if found is None:
            raise domain.FileNotFound(id=input.id)
        return services.update(viewer=viewer, file_id=found, changes=_description(input))  # type: ignore[return-value]

    @strawberry.mutation(description="Delete files for good; one result for each id, in their order.")
    def delete_files(self, info: Info, ids: list[strawberry.ID]) -> list[DeleteFileResult]:
        viewer = writer(info)
        if not 1 <= len(ids) <= MAX_DELETIONS:
            raise BadUserInput(f"ids: give 1 to {MAX_DELETIONS} ids.")
        found = {each: file_id(each) for each in ids}
        known = iter(services.delete_many(viewer=viewer, file_ids=[id for id in map(found.get, ids) if id]))
        return [_presented(next(known) if found[each] else domain.FileNotFound(id=each)) for each in ids]


def _profile(input: UploadFileInput | UploadFilesInput) -> str:
    return DEFAULT_PROFILE if input.profile is None else input.profile


def _description(input: UploadFileInput | UploadFilesInput | UpdateFileInput) -> Description:
    """The fields that say something of the file, without those that were left out."""
    given: dict[str, Any] = {
        field: value for field, value in vars(input).items() if field in Description.__annotations__
    }
    if given.get("focal_point", UNSET) is not UNSET:
        given["focal_point"] = _focal_point(given["focal_point"])
    return {field: value for field, value in given.items() if value is not UNSET}  # type: ignore[return-value]


def _focal_point(given: object) -> FocalPoint | None:
    return FocalPoint(given.x, given.y) if isinstance(given, FocalPointInput) else None


def _presented(outcome: FileRow | Deleted | domain.FileError) -> Any:
    """One outcome of several as the member of the union that it is."""
    if isinstance(outcome, domain.FileError):
        return errors.present(outcome)
    if isinstance(outcome, Deleted):
        return DeletedFile(id=strawberry.ID(relay.to_base64("File", outcome.id)))
    return outcome
