"""Models of Tortoise ORM, which looks for them in a module."""

from tortoise import fields
from tortoise.models import Model


class Author(Model):  # type: ignore[misc]
    id = fields.IntField(primary_key=True)
    name = fields.TextField()


class Book(Model):  # type: ignore[misc]
    id = fields.IntField(primary_key=True)
    title = fields.TextField()
    body = fields.TextField()
    author = fields.ForeignKeyField("models.Author")
