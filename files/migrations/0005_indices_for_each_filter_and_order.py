import files.indexes
import files.lookups
from django.conf import settings
from django.db import migrations, models
from files.indexes import AddIndexLive, MakeTrigrams

PUBLIC = models.Q(('visibility', 'public'))


class Migration(migrations.Migration):

    # On PostgreSQL an index that locks nobody out cannot be built within a transaction.
    atomic = False

    dependencies = [
        ('files', '0004_rendition_keys_are_unique'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexLive('file', models.Index(fields=['owner', 'updated_at', 'id'], name='file_owner_updated')),
        AddIndexLive('file', models.Index(fields=['owner', 'name', 'id'], name='file_owner_name')),
        AddIndexLive('file', models.Index(fields=['owner', 'size', 'id'], name='file_owner_size')),
        AddIndexLive('file', models.Index(condition=PUBLIC, fields=['created_at', 'id'], name='file_public_created')),
        AddIndexLive('file', models.Index(condition=PUBLIC, fields=['updated_at', 'id'], name='file_public_updated')),
        AddIndexLive('file', models.Index(condition=PUBLIC, fields=['name', 'id'], name='file_public_name')),
        AddIndexLive('file', models.Index(condition=PUBLIC, fields=['size', 'id'], name='file_public_size')),
        AddIndexLive('file', files.indexes.PostgresIndex(fields=['kind'], name='file_kind')),
        AddIndexLive('file', files.indexes.PostgresIndex(fields=['content_type'], name='file_content_type')),
        AddIndexLive('file', files.indexes.PostgresIndex(fields=['profile'], name='file_profile')),
        AddIndexLive('file', files.indexes.PostgresIndex(fields=['visibility'], name='file_visibility')),
        AddIndexLive('file', files.indexes.PostgresGinIndex(fields=['tags'], name='file_tags')),
        AddIndexLive('file', files.indexes.PostgresGinIndex(fields=['metadata'], name='file_metadata', opclasses=('jsonb_path_ops',))),
        MakeTrigrams(),
        AddIndexLive('file', files.indexes.PostgresGinIndex(files.lookups.Trigrams('name'), name='file_name_trigrams')),
    ]
