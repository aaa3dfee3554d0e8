"""Lands a table as Parquet with dlt: URL, folder, backend."""

import sys

import dlt
from dlt.sources.sql_database import sql_table


def main(url, folder, backend):
    """Replaces what an earlier run left."""
    pipeline = dlt.pipeline(
        pipeline_name=f"wide_{backend}",
        pipelines_dir=f"{folder}/pipelines",
        destination=dlt.destinations.filesystem(bucket_url=f"file://{folder}/landed"),
        dataset_name="landed",
    )
    table = sql_table(credentials=url, schema="public", table="wide", backend=backend, chunk_size=50_000)
    pipeline.run(table, loader_file_format="parquet", write_disposition="replace").raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:])
