"""Makes a table searchable with CocoIndex, in a table with a full-text index
beside it: URL, folder. What it knows of an earlier run is in the folder."""

import asyncio
import pathlib
import sys
from dataclasses import dataclass

import asyncpg
import cocoindex as coco
from cocoindex.connectors import postgres

URL, FOLDER = sys.argv[1:]
POOL = coco.ContextKey("pool")
INDEX = "CREATE INDEX documents_words ON documents USING gin (to_tsvector('english', title || ' ' || body))"


@dataclass
class Row:
    """What is read of a row."""

    id: int
    name: str
    status: str
    note: str | None
    summary: str
    attributes: str


@dataclass
class Document:
    """What is written of it."""

    id: int
    title: str
    body: str


@coco.lifespan
async def lifespan(builder):
    """State in the folder, one pool for source and target."""
    builder.settings.db_path = pathlib.Path(FOLDER) / "state"
    async with asyncpg.create_pool(URL, min_size=1, max_size=4) as pool:
        builder.provide(POOL, pool)
        yield


@coco.fn(memo=True)
async def index_row(row: Row, table: postgres.TableTarget[Document]) -> None:
    """One row, one document."""
    table.declare_row(row=Document(row.id, row.name, f"{row.status} {row.note or ''} {row.summary} {row.attributes}"))


@coco.fn
async def index_rows() -> None:
    """Every row of the table."""
    schema = await postgres.TableSchema.from_class(Document, primary_key=["id"])
    table = await postgres.mount_table_target(POOL, "documents", schema)
    table.declare_sql_command_attachment(name="words", setup_sql=INDEX, teardown_sql="DROP INDEX documents_words")
    source = postgres.PgTableSource(coco.use_context(POOL), table_name="wide", row_type=Row)
    await coco.mount_each(index_row, source.fetch_rows().items(key=lambda row: row.id), table)


async def check() -> None:
    """Ends with an error if nothing can be found."""
    connection = await asyncpg.connect(URL)
    query = "SELECT count(*) FROM documents WHERE to_tsvector('english', title || ' ' || body) @@ 'tent'::tsquery"
    if not await connection.fetchval(query):
        raise SystemExit("nothing can be found")
    await connection.close()


if __name__ == "__main__":
    coco.App(coco.AppConfig(name="Rows"), index_rows).update_blocking()
    asyncio.run(check())
